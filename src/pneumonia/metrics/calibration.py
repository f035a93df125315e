"""Calibration of probabilities: reliability curve, expected calibration error, Brier score."""

from typing import NamedTuple

import numpy as np

BINS = 10


class Reliability(NamedTuple):
    """Bins of equally many images.

    predicted: (bins,) mean probability. observed: (bins,) share of positives. images: (bins,) number of images.
    """

    predicted: np.ndarray
    observed: np.ndarray
    images: np.ndarray


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> Reliability:
    """Compare predicted and observed shares of positives in bins of equally many images, by rank.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,).
    """
    labels, probabilities = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    _, value = np.unique(probabilities, return_inverse=True)
    labels = (np.bincount(value, labels) / np.bincount(value))[value]  # ties may be in two bins: each gets their mean
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, max(1, min(bins, len(order)))) if len(part)]
    return Reliability(
        np.array([probabilities[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
        np.array([len(part) for part in parts]),
    )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error: mean |predicted - observed| over `reliability`'s bins, weighted by images.

    Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; with bins of equal count.
    NaN without images. With few images it is too high: random deviations count as miscalibration.
    """
    predicted, observed, images = reliability(labels, probabilities, bins)
    return float(np.average(np.abs(predicted - observed), weights=images)) if len(images) else float("nan")


def brier_scores(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the (n,) squared errors, whose mean is the Brier score."""
    return (np.asarray(probabilities, dtype=np.float64) - np.asarray(labels, dtype=np.float64)) ** 2
