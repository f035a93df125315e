"""Metrics of image classifiers, with intervals over people."""

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support

from pneumonia.metrics.intervals import DRAWS, Interval, percentile_interval, person_draws


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties counting half. NaN if one class
    is missing. labels: (n,) 0 or 1; scores: (n,)."""
    return float(weighted_auc(np.asarray(labels), np.asarray(scores), np.ones((1, len(labels))))[0])


def weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC under several weightings of the images. weights: (k, n). Returns (k,)."""
    _, rank = np.unique(scores, return_inverse=True)
    order = np.argsort(rank, kind="stable")
    rank, positive = rank[order], labels[order] == 1
    heavy = weights[:, order]
    negatives = np.where(positive, 0.0, heavy)
    first = np.concatenate([[True], rank[1:] != rank[:-1]])
    start = np.flatnonzero(first)
    within = np.add.reduceat(negatives, start, axis=1) if len(start) else np.zeros((len(weights), 0))
    below = np.cumsum(within, axis=1) - within / 2
    mine = np.where(positive, heavy, 0.0)
    concordant = (mine * below[:, rank]).sum(axis=1) if len(rank) else np.zeros(len(weights))
    pairs = mine.sum(axis=1) * negatives.sum(axis=1)
    return np.divide(concordant, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """AUC with its percentile interval over people. people: (n,) person of each image, numbered from 0."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if not len(labels):
        return Interval(float("nan"), float("nan"), float("nan"))
    size = int(people.max()) + 1
    values = [weighted_auc(labels, scores, weight[:, people]) for weight in person_draws(size, draws, seed)]
    return percentile_interval(auc(labels, scores), np.concatenate([np.empty(0), *values]))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall steps; NaN without a positive. labels: (n,) 0 or 1; scores: (n,)."""
    positive = np.asarray(labels) == 1
    return float(average_precision_score(positive, scores)) if positive.any() else float("nan")


def average_precision_interval(
    labels: np.ndarray, scores: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Average precision with its percentile interval over people. people: (n,) numbered from 0."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    order = np.argsort(-scores, kind="stable")
    positive, ranked = labels[order] == 1, scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]  # ties are called together
    values = []
    for weight in person_draws(int(people.max()) + 1 if len(people) else 0, draws, seed) if len(labels) else ():
        heavy = weight[:, people[order]]
        hits, called = np.cumsum(heavy * positive, axis=1)[:, last], np.cumsum(heavy, axis=1)[:, last]
        precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
        total = hits[:, -1]
        area = (np.diff(hits, prepend=0.0, axis=1) * precision).sum(axis=1)
        values.append(np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0))
    return percentile_interval(average_precision(labels, scores), np.concatenate(values) if values else np.empty(0))


def per_class(labels: np.ndarray, called: np.ndarray) -> dict:
    """The report's classification table: accuracy, and precision, recall, F1 and support of Normal (0) and Pneumonia
    (1), with the confusion matrix [[TN, FP], [FN, TP]]. labels, called: (n,) 0 or 1."""
    labels, called = np.asarray(labels).astype(int), np.asarray(called).astype(int)
    columns = precision_recall_fscore_support(labels, called, labels=[0, 1], zero_division=0.0)
    rows = zip(*(column.tolist() for column in columns))
    names = ("precision", "recall", "f1", "images")
    classes = {name: dict(zip(names, row)) for name, row in zip(("normal", "pneumonia"), rows)}
    return {
        "accuracy": float((labels == called).mean()) if len(labels) else float("nan"),
        "classes": classes,
        "confusion": confusion_matrix(labels, called, labels=[0, 1]).tolist(),
    }


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The score at which calling everything from it upwards has the highest F1; 0.5 where there is no positive."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if not (labels == 1).any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits, called = np.cumsum(labels[order] == 1), np.arange(1, len(labels) + 1)
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    f1 = np.where(last, 2 * hits / (called + hits[-1]), -1.0)
    return float(scores[order][int(np.argmax(f1))])


def cross_fitted(labels: np.ndarray, scores: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, dict]:
    """Calls of every part at the threshold that is best on the other parts.

    Args:
        parts: (n,) which part each image is in; a person's images must share one.

    Returns:
        called (n,) bool, and {part: threshold}.
    """
    called, thresholds = np.zeros(len(labels), dtype=bool), {}
    for part in np.unique(parts):
        own = parts == part
        thresholds[part.item()] = best_threshold(labels[~own], scores[~own])
        called[own] = scores[own] >= thresholds[part.item()]
    return called, thresholds
