"""Metrics of image classifiers, with intervals over people."""

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support

from pneumonia.metrics.intervals import DRAWS, Interval, percentile_interval, person_draws


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision; NaN without a positive. labels: (n,) 0 or 1; scores: (n,)."""
    positive = np.asarray(labels) == 1
    return float(average_precision_score(positive, scores)) if positive.any() else float("nan")


def average_precision_interval(
    labels: np.ndarray, scores: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the average precision with its percentile interval over people. people: (n,) numbered from 0."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    order = np.argsort(-scores, kind="stable")
    positive, descending = labels[order] == 1, scores[order]
    # a threshold is only possible after the last of equal scores
    is_last = np.append(descending[1:] != descending[:-1], True)[: len(descending)]
    values = []
    for weight in person_draws(int(people.max()) + 1 if len(people) else 0, draws, seed) if len(labels) else ():
        weights = weight[:, people[order]]
        hits = np.cumsum(weights * positive, axis=1)[:, is_last]
        predicted = np.cumsum(weights, axis=1)[:, is_last]
        precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
        total = hits[:, -1]
        area = (np.diff(hits, prepend=0.0, axis=1) * precision).sum(axis=1)
        values.append(np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0))
    return percentile_interval(average_precision(labels, scores), np.concatenate(values) if values else np.empty(0))


def per_class(labels: np.ndarray, predicted: np.ndarray) -> dict:
    """Return accuracy, confusion matrix [[TN, FP], [FN, TP]], and precision, recall, F1 and images of each class.

    Args:
        labels, predicted: (n,) 0 (normal) or 1 (pneumonia).
    """
    labels, predicted = np.asarray(labels).astype(int), np.asarray(predicted).astype(int)
    columns = precision_recall_fscore_support(labels, predicted, labels=[0, 1], zero_division=0.0)
    rows = zip(*(column.tolist() for column in columns))
    names = ("precision", "recall", "f1", "images")
    classes = {name: dict(zip(names, row)) for name, row in zip(("normal", "pneumonia"), rows)}
    return {
        "accuracy": float((labels == predicted).mean()) if len(labels) else float("nan"),
        "classes": classes,
        "confusion": confusion_matrix(labels, predicted, labels=[0, 1]).tolist(),
    }


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold with the highest F1 (scores >= it are positive); 0.5 without a positive label."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if not (labels == 1).any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits, predicted = np.cumsum(labels[order] == 1), np.arange(1, len(labels) + 1)
    is_last = np.append(scores[order][1:] != scores[order][:-1], True)
    f1 = np.where(is_last, 2 * hits / (predicted + hits[-1]), -1.0)
    return float(scores[order][int(np.argmax(f1))])


def cross_fit_thresholds(labels: np.ndarray, scores: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, dict]:
    """Predict each part at the threshold that is best on the other parts.

    Args:
        parts: (n,) part of each image; a person's images must all be in one.

    Returns:
        predicted (n,) bool, and {part: threshold}.
    """
    predicted, thresholds = np.zeros(len(labels), dtype=bool), {}
    for part in np.unique(parts):
        rows = parts == part
        thresholds[part.item()] = best_threshold(labels[~rows], scores[~rows])
        predicted[rows] = scores[rows] >= thresholds[part.item()]
    return predicted, thresholds
