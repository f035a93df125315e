"""Whether a probability means what it says."""

from typing import NamedTuple

import numpy as np

BINS = 10


class Reliability(NamedTuple):
    """Per bin of equally many images: predicted (bins,) mean probability, observed (bins,) share of positives, images
    (bins,)."""

    predicted: np.ndarray
    observed: np.ndarray
    images: np.ndarray


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> Reliability:
    """Bins by rank: as many images in each, so that none is judged by a handful. labels: (n,) 0 or 1."""
    labels, probabilities = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    _, value = np.unique(probabilities, return_inverse=True)
    labels = (np.bincount(value, labels) / np.bincount(value))[value]  # ties may fall into two bins: share them evenly
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
    return Reliability(
        np.array([probabilities[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
        np.array([len(part) for part in parts]),
    )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of predicted and observed over `reliability`'s bins, by images.

    Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; with bins of equal count.
    NaN without images. Biased upwards for few images: random deviations count as miscalibration.
    """
    found = reliability(labels, probabilities, bins)
    if not len(found.images):
        return float("nan")
    return float(np.average(np.abs(found.predicted - found.observed), weights=found.images))


def brier_scores(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n,) squared errors, whose mean is the Brier score."""
    return (np.asarray(probabilities, dtype=np.float64) - np.asarray(labels, dtype=np.float64)) ** 2
