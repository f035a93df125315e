"""Merge predictions of the same images by one model: of test-time variants, of its seeds, or of its folds."""

from collections.abc import Sequence

import numpy as np

from pneumonia.boxes.fusion import Fusion, fuse
from pneumonia.boxes.predictions import ClassProbabilities, Detections

# the winners used an IoU of 0.4 to 0.55
SAME_MODEL = Fusion(method="wbf", iou=0.5, min_score=0.0, confidence="mean")


def merge_tables(tables: Sequence[Detections] | Sequence[ClassProbabilities]) -> Detections | ClassProbabilities:
    """Merge tables of one kind; a single table stays as it is.

    Raises:
        ValueError: the tables cover different images.
    """
    if len(tables) == 1:
        return tables[0]
    return average_classes(tables) if isinstance(tables[0], ClassProbabilities) else merge_same_model(tables)


def merge_same_model(tables: Sequence[Detections]) -> Detections:
    """Merge boxes by weighted boxes fusion. A table without a box counts as 0 in that box's confidence."""
    return fuse(tables, SAME_MODEL)


def average_classes(tables: Sequence[ClassProbabilities]) -> ClassProbabilities:
    """Average the probabilities.

    Raises:
        ValueError: the tables cover different images.
    """
    if any(table.ids != tables[0].ids for table in tables[1:]):
        raise ValueError("the tables must cover the same images in the same order")
    columns = zip(*(table.columns() for table in tables))
    return ClassProbabilities(tables[0].ids, *(None if each[0] is None else weighted_mean(each) for each in columns))


def weighted_mean(columns: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Return the (n, ...) float64 mean of (n, ...) columns, added in their order.

    np.mean adds few rows in another order than many: an image's last bits would depend on the number of images.
    """
    weights = weights or [1.0] * len(columns)
    total = np.zeros(np.shape(columns[0]))
    for column, weight in zip(columns, weights):
        total += weight * column
    return total / sum(weights)
