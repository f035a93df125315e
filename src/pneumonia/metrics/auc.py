"""The area under the ROC curve, with an interval over people. scikit-learn's takes one weighting at a time."""

import numpy as np

from pneumonia.metrics.intervals import DRAWS, Interval, percentile_interval, person_draws


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve: the probability that a positive outranks a negative, ties count half.

    NaN if one class is missing. labels: (n,) 0 or 1; scores: (n,).
    """
    return float(weighted_auc(np.asarray(labels), np.asarray(scores), np.ones((1, len(labels))))[0])


def weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC for each of several weightings of the images. weights: (k, n). Returns (k,)."""
    _, rank = np.unique(scores, return_inverse=True)
    order = np.argsort(rank, kind="stable")
    rank, positive = rank[order], labels[order] == 1
    weights = weights[:, order]
    negatives, positives = np.where(positive, 0.0, weights), np.where(positive, weights, 0.0)
    is_first = np.concatenate([[True], rank[1:] != rank[:-1]])
    starts = np.flatnonzero(is_first)
    ties = np.add.reduceat(negatives, starts, axis=1) if len(starts) else np.zeros((len(weights), 0))
    below = np.cumsum(ties, axis=1) - ties / 2
    concordant = (positives * below[:, rank]).sum(axis=1) if len(rank) else np.zeros(len(weights))
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.divide(concordant, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the AUC with its percentile interval over people. people: (n,) person of each image, numbered from 0."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if not len(labels):
        return Interval(float("nan"), float("nan"), float("nan"))
    size = int(people.max()) + 1
    values = [weighted_auc(labels, scores, weight[:, people]) for weight in person_draws(size, draws, seed)]
    return percentile_interval(auc(labels, scores), np.concatenate([np.empty(0), *values]))


def auc_difference_interval(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the AUC of `first` minus that of `second`, paired: every draw takes the same people for both.

    Args:
        labels: (n,) 0 or 1.
        first, second: (n,) scores of the same images.
        people: (n,) person of each image, numbered from 0.
    """
    if not len(labels):
        return Interval(float("nan"), float("nan"), float("nan"))
    differences = [
        weighted_auc(labels, first, weight[:, people]) - weighted_auc(labels, second, weight[:, people])
        for weight in person_draws(int(people.max()) + 1, draws, seed)
    ]
    return percentile_interval(auc(labels, first) - auc(labels, second), np.concatenate([np.empty(0), *differences]))
