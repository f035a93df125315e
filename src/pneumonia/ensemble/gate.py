"""The classifier gate: the image classifiers' probabilities scale the confidences of the boxes."""

from collections.abc import Sequence

import numpy as np

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.boxes.same_model import weighted_mean


def image_probability(
    classifiers: Sequence[ClassProbabilities], calibrations: Sequence, weights: Sequence[float], not_normal: float
) -> np.ndarray:
    """Return one probability per image: the weighted mean of the classifiers' calibrated probabilities of opacity.

    Args:
        not_normal: share of a three-class model's not-normal probability that counts as opacity: images that a
            classifier calls not normal often do have an opacity.

    Returns:
        (images,) in [0, 1].
    """
    raw = [
        table.opacity if table.not_normal is None else table.opacity + not_normal * table.not_normal
        for table in classifiers
    ]
    columns = [calibration(np.minimum(column, 1.0)) for calibration, column in zip(calibrations, raw)]
    return weighted_mean(columns, weights)


def apply_gate(detections: Detections, probability: np.ndarray, exponent: float, cutoff: float) -> Detections:
    """Multiply confidences by probability ** exponent and drop the boxes of images below `cutoff`.

    Args:
        probability: (images,).
    """
    box_probability = probability[detections.image_of_box]
    return detections.with_scores(detections.scores * box_probability**exponent).keep(box_probability >= cutoff)
