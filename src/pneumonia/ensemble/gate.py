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
    total = np.zeros(len(classifiers[0]))
    for table, calibration, weight in zip(classifiers, calibrations, weights):
        raw = table.opacity if table.not_normal is None else table.opacity + not_normal * table.not_normal
        total += weight * calibration(np.minimum(raw, 1.0))
    return total / sum(weights)


def gated(detections: Detections, probability: np.ndarray, exponent: float, cutoff: float) -> Detections:
    """Confidences times probability ** exponent; boxes of images below `cutoff` go. probability: (images,)."""
    of_box = probability[detections.image_of_box]
    kept = of_box >= cutoff
    return detections.with_scores(detections.scores * of_box**exponent).keep(kept)
