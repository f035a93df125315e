"""The classifier gate: what image classifiers say decides how much a box is worth."""

from collections.abc import Sequence

import numpy as np

from pneumonia.boxes.predictions import ClassProbabilities, Detections


def image_probability(
    classifiers: Sequence[ClassProbabilities], calibrations: Sequence, weights: Sequence[float], not_normal: float
) -> np.ndarray:
    """One probability per image: the weighted mean of the classifiers' calibrated probabilities of opacity.

    Args:
        not_normal: share of a three-class model's not-normal probability that counts as opacity: what a classifier
            takes for another abnormality often is one.

    Returns:
        (images,) in [0, 1].
    """
    raw = [
        table.opacity if table.not_normal is None else table.opacity + not_normal * table.not_normal
        for table in classifiers
    ]
    calibrated = [calibration(np.minimum(each, 1.0)) for calibration, each in zip(calibrations, raw)]
    return weighted_mean(calibrated, weights)


def weighted_mean(columns: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """(n,) mean over columns of (n,), added in their order: numpy's own means of a few rows add in another order than
    those of many, so that an image's last bits would depend on how many are predicted with it."""
    weights = weights or [1.0] * len(columns)
    total = np.zeros(len(columns[0]))
    for column, weight in zip(columns, weights):
        total += weight * column
    return total / sum(weights)


def gated(detections: Detections, probability: np.ndarray, exponent: float, cutoff: float) -> Detections:
    """Confidences times probability ** exponent; boxes of images below `cutoff` go. probability: (images,)."""
    of_box = probability[detections.image_of_box]
    kept = of_box >= cutoff
    return detections.with_scores(detections.scores * of_box**exponent).keep(kept)
