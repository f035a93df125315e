"""COCO's average precision and recall, by pycocotools, of the only class of boxes.

https://cocodataset.org/#detection-eval: AP is the area under the interpolated curve of precision over recall, all
images' boxes ranked together. It needs boxes of low confidence: after a threshold it is lower.

The competition's score and AP answer different questions: the former punishes every box on a healthy image, in AP a
false box below all true ones costs nothing. Papers differ in their images: many leave out those without a true box.
"""

import contextlib
import io

import numpy as np

from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.iou_map import Truth

MAX_BOXES = 100  # of an image, the most confident ones: COCO's convention


def coco_scores(truth: Truth, detections: Detections) -> dict:
    """AP and AR on all images and on positive ones alone.

    Args:
        truth: has every image of `detections`.

    Returns:
        {"all": {images, boxes, ap, ap50, ap75, ar}, "positive": likewise}. ap and ar are means over the IoU thresholds
        0.50, 0.55, ..., 0.95; ar is the recall with at most 100 boxes per image. None where no image has a true box.
    """
    truth = truth.select(detections.ids)
    positive = np.flatnonzero(truth.positive)
    return {
        "all": average_precision(truth, detections),
        "positive": average_precision(truth.rows(positive), detections.rows(positive)),
    }


def average_precision(truth: Truth, detections: Detections) -> dict:
    """AP, AP50, AP75 and AR of images in the same order in both tables."""
    from pycocotools.cocoeval import COCOeval

    result = {"images": len(truth), "boxes": len(truth.boxes), "ap": None, "ap50": None, "ap75": None, "ar": None}
    if not len(truth.boxes):
        return result
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            coco_of(len(truth), np.diff(truth.offsets), truth.boxes),
            coco_of(len(truth), detections.counts, detections.boxes, detections.scores),
            "bbox",
        )
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_BOXES]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]  # IoU thresholds x recalls
    ap50, ap75 = (np.flatnonzero(np.isclose(evaluation.params.iouThrs, iou))[0] for iou in (0.5, 0.75))
    result |= {"ap": precision.mean(), "ap50": precision[ap50].mean(), "ap75": precision[ap75].mean()}
    result["ar"] = evaluation.eval["recall"][:, 0, 0, 0].mean()
    return {name: value if isinstance(value, int) else float(value) for name, value in result.items()}


def coco_of(images: int, counts: np.ndarray, boxes: np.ndarray, scores: np.ndarray | None = None):
    """A COCO data set in memory. counts: (images,) boxes of each image. scores: None for true boxes."""
    from pycocotools.coco import COCO

    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (image, box) in enumerate(zip(np.repeat(np.arange(images), counts).tolist(), boxes.tolist()), 1)
    ]
    if scores is not None:
        for annotation, score in zip(annotations, scores.tolist()):
            annotation["score"] = score
    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": image} for image in range(images)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "opacity"}],
    }
    dataset.createIndex()
    return dataset


def coco_lines(scores: dict) -> list[str]:
    """A line of text for all images and one for positive ones."""
    names = {"all": "all {} images", "positive": "{} images with a true box"}
    lines = []
    for key, row in scores.items():
        values = ", ".join(
            f"{label} {'-' if row[name] is None else format(row[name], '.4f')}"
            for label, name in (("AP", "ap"), ("AP50", "ap50"), ("AP75", "ap75"), ("AR", "ar"))
        )
        lines.append(f"COCO, {names[key].format(row['images'])}: {values}")
    return lines
