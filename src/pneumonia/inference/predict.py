"""A trained network's predictions with test-time augmentation, as prediction tables in original pixels."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np

from pneumonia import boxes as geometry
from pneumonia.fusion import merge_tta
from pneumonia.inference.tta import variants
from pneumonia.models.family import Family
from pneumonia.predictions import ClassProbabilities, Detections
from pneumonia.progress import progress

BOXES_KEPT = 40  # per image, for fusing; and the lowest confidence that is worth a place in the table
LOWEST_CONFIDENCE = 0.01


def predict(
    network: keras.Model,
    family: Family,
    ids: Sequence[str],
    images: Sequence[np.ndarray],
    sizes: np.ndarray,
    tta: list[str],
    batch_size: int,
    title: str,
) -> Detections | ClassProbabilities:
    """Predict every image under every variant, and merge the variants.

    Args:
        ids: (n,) patientId.
        images: n images (size, size) uint8, size being the model's.
        sizes: (n, 2) rows, columns of the original images, in whose pixels the boxes are returned.
        tta: names of inference/tta.py.

    Returns:
        Detections (a localizer) or ClassProbabilities (a classifier), images in the order of `ids`.
    """
    forward = forward_pass(network)
    chosen = variants(tta)
    starts = range(0, len(ids), batch_size)
    tables: list[list] = [[] for _ in chosen]
    for start in progress(starts, title, unit="batch"):
        batch = np.stack([images[row] for row in range(start, min(start + batch_size, len(ids)))])[..., None]
        for table, variant in zip(tables, chosen):
            decoded = family.decode(forward(variant.picture(batch), batch_size))
            if family.kind == "localizer":
                decoded = [(variant.boxes_back(boxes, family.image_size), scores) for boxes, scores in decoded]
            table.extend(decoded)
    if family.kind == "classifier":
        return class_table(ids, np.mean([np.stack(table) for table in tables], axis=0))
    found = [detection_table(ids, table, sizes, family.image_size) for table in tables]
    return found[0] if len(found) == 1 else most_confident(merge_tta(found))


def forward_pass(network: keras.Model):
    """images (n, size, size, 1), batch size -> outputs as numpy, always computed on a full batch: one shape compiles
    once, and an image's output does not depend on how many others came with it."""

    def forward(images: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
        missing = batch_size - len(images)
        padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)]) if missing else images
        outputs = network.predict_on_batch(np.ascontiguousarray(padded))
        return {name: np.asarray(value)[: len(images)] for name, value in outputs.items()}

    return forward


def class_table(ids: Sequence[str], probabilities: np.ndarray) -> ClassProbabilities:
    """probabilities: (n, 1) opacity, or (n, 3) normal, not normal, opacity."""
    probabilities = probabilities.astype(np.float64)
    if probabilities.shape[1] == 1:
        return ClassProbabilities(tuple(ids), opacity=probabilities[:, 0])
    normal, not_normal, opacity = probabilities.T
    return ClassProbabilities(tuple(ids), opacity=opacity, normal=normal, not_normal=not_normal)


def detection_table(ids: Sequence[str], decoded: Iterable, sizes: np.ndarray, model_size: int) -> Detections:
    """Boxes of the model's square, to the pixels of the originals and inside their frames."""
    boxes_list, scores_list = [], []
    for (boxes, scores), (rows, columns) in zip(decoded, sizes):
        boxes = geometry.scale(np.reshape(boxes, (-1, 4)), columns / model_size, rows / model_size)
        boxes = geometry.clip(boxes, columns, rows)
        kept = (boxes[:, 2] > 0) & (boxes[:, 3] > 0) & (scores >= LOWEST_CONFIDENCE)
        boxes_list.append(boxes[kept])
        scores_list.append(np.asarray(scores, dtype=np.float64)[kept])
    return most_confident(Detections.from_lists(ids, boxes_list, scores_list))


def most_confident(detections: Detections) -> Detections:
    """At most BOXES_KEPT boxes of every image, by descending confidence."""
    boxes_list, scores_list = [], []
    for image in range(len(detections.ids)):
        boxes, scores = detections.image(image)
        order = np.argsort(-scores, kind="stable")[:BOXES_KEPT]
        boxes_list.append(boxes[order])
        scores_list.append(scores[order])
    return Detections.from_lists(detections.ids, boxes_list, scores_list)
