"""The competition's metric, and its exact value at every possible confidence threshold.

Per image and per IoU threshold t = 0.40, 0.45, ..., 0.75: predictions in descending confidence (ties in file order);
each matches the unmatched true box of highest IoU if that IoU is strictly greater than t; precision = TP / (TP + FP +
FN). The image's score is the mean over t. An image without true boxes scores 0 if any box is predicted, and does not
count if none is. https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge/overview/evaluation
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumonia.boxes.predictions import Detections, offsets_of
from pneumonia.data.tables import read_labels
from pneumonia.metrics.iou_kernels import STEPS, matches_kernel, scores_kernel, steps_kernel
from pneumonia.system.csv_rows import first_faults
from pneumonia.system.errors import BadInput, Fault


@dataclass(eq=False)
class Truth:
    """True boxes of many images, in one array like Detections.

    ids: (images,). offsets: (images + 1,) int64, where each image's boxes start. boxes: (n, 4) float64 x, y, width,
    height in pixels.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    boxes: np.ndarray

    @classmethod
    def from_lists(cls, ids: Sequence[str], boxes_list: Sequence[np.ndarray]) -> "Truth":
        """Build from one (k, 4) array of boxes per image."""
        boxes = [np.reshape(np.asarray(boxes, dtype=np.float64), (-1, 4)) for boxes in boxes_list]
        counts = np.array([len(image_boxes) for image_boxes in boxes], dtype=np.int64)
        return cls(tuple(ids), offsets_of(counts), np.concatenate([np.empty((0, 4)), *boxes]))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positive(self) -> np.ndarray:
        """(images,) bool: whether the image has a box."""
        return np.diff(self.offsets) > 0

    def rows(self, positions: np.ndarray) -> "Truth":
        """The images at these positions, in this order."""
        table = Detections(self.ids, self.offsets, self.boxes, np.zeros(len(self.boxes))).rows(positions)
        return Truth(table.ids, table.offsets, table.boxes)

    def select(self, ids: Sequence[str]) -> "Truth":
        """The images with these ids, in this order. Raises KeyError for an unknown id."""
        position = {name: row for row, name in enumerate(self.ids)}
        return self.rows(np.array([position[name] for name in ids], dtype=np.int64))


def read_truth(path: str | Path) -> Truth:
    """Read the competition's label table: a row per box, or one row with empty cells for an image without boxes.

    Raises:
        BadInput: names every bad row with its line number.
    """
    faults: list[Fault] = []
    rows = read_labels(Path(path), faults, uuids=False)
    if faults:
        raise BadInput(first_faults(faults, path))
    boxes_of: dict[str, list[tuple[float, ...]]] = {name: [] for name in rows.ids}
    for name, box in zip(rows.ids, rows.boxes):
        if box is not None:
            boxes_of[name].append(box)
    counts = np.array([len(boxes) for boxes in boxes_of.values()], dtype=np.int64)
    boxes = np.array([box for boxes in boxes_of.values() for box in boxes], dtype=np.float64).reshape(-1, 4)
    return Truth(tuple(boxes_of), offsets_of(counts), boxes)


def image_scores(truth: Truth, detections: Detections, threshold: float = 0.0) -> np.ndarray:
    """Return the score of every image of `detections`; NaN where it does not count.

    Args:
        truth: has every image of `detections`; others are ignored.
        threshold: boxes of lower confidence are left out.

    Returns:
        (images,) float64 in the order of `detections.ids`.
    """
    if threshold > 0.0:
        detections = detections.keep(detections.scores >= threshold)
    aligned, ordered = align_to(truth, detections), detections.by_confidence()
    return scores_kernel(aligned.offsets, aligned.boxes, ordered.offsets, ordered.boxes)


def mean_iou_map(truth: Truth, detections: Detections, threshold: float = 0.0) -> float:
    """Return the competition's score: the mean over the images that count; NaN if none does."""
    return mean_of_counted(image_scores(truth, detections, threshold))


def mean_of_counted(scores: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if all are."""
    counted = scores[~np.isnan(scores)]
    return float(counted.mean()) if len(counted) else float("nan")


def box_credits(truth: Truth, detections: Detections) -> np.ndarray:
    """Return for each box the share of the eight IoU thresholds at which it matches a true box; (n,)."""
    return box_matches(truth, detections).mean(axis=1)


def box_matches(truth: Truth, detections: Detections) -> np.ndarray:
    """Return for each box whether it matches a true box at each IoU threshold.

    Boxes are matched in descending confidence, so that a threshold on confidences changes none of these values.

    Returns:
        (n, 8) bool in the order of `detections.boxes`.
    """
    order = np.lexsort((-detections.scores, detections.image_of_box))
    aligned = align_to(truth, detections)
    matched = np.empty((len(order), STEPS), dtype=bool)
    matched[order] = matches_kernel(aligned.offsets, aligned.boxes, detections.offsets, detections.boxes[order])
    return matched


def align_to(truth: Truth, detections: Detections) -> Truth:
    """Return the true boxes of the images of `detections`, in their order."""
    return truth if truth.ids == detections.ids else truth.select(detections.ids)


# ------------------------------------------------------------------ every threshold at once


@dataclass
class ThresholdCurve:
    """The score at every threshold that changes it.

    thresholds: (k,) descending, the first above every confidence (no box is predicted). scores: (k,) score if boxes of
    confidence >= threshold are predicted, NaN where no image counts.
    """

    thresholds: np.ndarray
    scores: np.ndarray

    def best(self) -> tuple[float, float]:
        """Return the best threshold (the highest if several) and its score, NaN if no image ever counts."""
        if np.isnan(self.scores).all():
            return float(self.thresholds[0]), float("nan")
        peak = int(np.nanargmax(self.scores))
        return float(self.thresholds[peak]), float(self.scores[peak])

    def at(self, threshold: float) -> float:
        """Return the score at any threshold."""
        position = np.searchsorted(-self.thresholds, -threshold, side="right") - 1
        return float(self.scores[max(position, 0)])


def sweep(truth: Truth, detections: Detections, weights: np.ndarray | None = None) -> ThresholdCurve:
    """Return the exact score at every possible threshold, from one sorted pass.

    Because matching is in descending confidence, a lower threshold never changes an earlier match: each box
    changes its own image's score by a fixed amount, and the whole curve is a cumulative sum.

    Args:
        weights: (images,) how often each image counts (a bootstrap draw); 1 by default.
    """
    return curve_of(steps_of(truth, detections), weights)


@dataclass
class Steps:
    """How each box changes the score when the threshold falls to its confidence; boxes in descending confidence.

    confidence: (n,). gain: (n,) change of its image's score. counted: (n,) 1.0 if it makes its image count, else 0.0.
    image: (n,) position of its image. positive: (images,) bool, images that count with no box predicted.
    """

    confidence: np.ndarray
    gain: np.ndarray
    counted: np.ndarray
    image: np.ndarray
    positive: np.ndarray


def steps_of(truth: Truth, detections: Detections) -> Steps:
    """Return the steps of all boxes, before the images are weighted."""
    aligned, ordered = align_to(truth, detections), detections.by_confidence()
    gain, counted = steps_kernel(aligned.offsets, aligned.boxes, ordered.offsets, ordered.boxes)
    order = np.argsort(-ordered.scores, kind="stable")
    return Steps(ordered.scores[order], gain[order], counted[order], ordered.image_of_box[order], aligned.positive)


def curve_of(steps: Steps, weights: np.ndarray | None = None) -> ThresholdCurve:
    """Sum the steps to the score at every threshold. weights: (images,) how often each image counts; 1 by default."""
    if weights is None:
        weight, start = 1.0, float(steps.positive.sum())
    else:
        weight, start = weights[steps.image], float(weights[steps.positive].sum())
    total = np.concatenate([[0.0], np.cumsum(steps.gain * weight)])
    count = np.concatenate([[start], start + np.cumsum(steps.counted * weight)])
    # boxes of equal confidence share a threshold: only the last of them counts
    is_last = np.ones(len(total), dtype=bool)
    is_last[1:-1] = steps.confidence[1:] != steps.confidence[:-1]
    highest = steps.confidence[0] if len(steps.confidence) else 1.0
    thresholds = np.concatenate([[np.nextafter(max(1.0, highest), 2.0)], steps.confidence])[is_last]
    scores = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return ThresholdCurve(thresholds, scores[is_last])
