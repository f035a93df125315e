"""Predictions of one model merged: of test-time variants, seeds, folds."""

import numpy as np
import pytest

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.boxes.same_model import average_classes, merge_same_model, merge_tables

IDS = tuple(str(number) for number in range(60))


def class_tables(count):
    generator = np.random.default_rng(3)
    columns = generator.dirichlet((1, 1, 1), size=(count, len(IDS)))
    return [ClassProbabilities(IDS, *each.T) for each in columns]


def box_tables(count):
    generator = np.random.default_rng(4)
    places = generator.uniform(0, 500, size=(len(IDS), 2, 2))
    tables = []
    for _ in range(count):
        boxes = [np.hstack([place + generator.normal(0, 8, place.shape), np.full((2, 2), 90.0)]) for place in places]
        tables.append(Detections.from_lists(IDS, boxes, [generator.uniform(0, 1, 2) for _ in IDS]))
    return tables


def test_boxes_are_averaged():
    tables = [
        Detections.from_lists(["a"], [[(100, 100, 50, 50)]], [[0.8]]),
        Detections.from_lists(["a"], [[(104, 100, 50, 50)]], [[0.4]]),
    ]
    merged = merge_same_model(tables)
    np.testing.assert_allclose(merged.scores, [0.6])
    np.testing.assert_allclose(merged.boxes, [[100 + 4 / 3, 100, 50, 50]])


def test_a_table_without_the_box_counts_as_0():
    tables = [
        Detections.from_lists(["a", "b"], [[(100, 100, 50, 50)], []], [[0.8], []]),
        Detections.from_lists(["a", "b"], [[], []], [[], []]),
    ]
    merged = merge_same_model(tables)
    np.testing.assert_allclose(merged.scores, [0.4])
    assert len(merged.image(1)[1]) == 0


def test_probabilities_are_averaged():
    tables = class_tables(3)
    mean = average_classes(tables)
    for name in ("normal", "not_normal", "opacity"):
        np.testing.assert_allclose(getattr(mean, name), np.mean([getattr(table, name) for table in tables], axis=0))
    binary = average_classes([ClassProbabilities(IDS, table.opacity) for table in tables])
    np.testing.assert_array_equal(binary.opacity, mean.opacity)
    assert binary.normal is None and binary.not_normal is None


def test_a_single_table_stays_as_it_is():
    (classes,), (boxes,) = class_tables(1), box_tables(1)
    assert merge_tables([classes]) is classes and merge_tables([boxes]) is boxes


@pytest.mark.parametrize("tables", [class_tables(3), box_tables(3)], ids=["classes", "boxes"])
def test_an_image_does_not_depend_on_the_others(tables):
    rows = np.array([41, 7, 8])
    together, alone = merge_tables(tables).rows(rows), merge_tables([table.rows(rows) for table in tables])
    assert together.ids == alone.ids
    for name in ("scores", "boxes") if isinstance(alone, Detections) else ("opacity", "normal", "not_normal"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))


@pytest.mark.parametrize("tables", [class_tables(2), box_tables(2)], ids=["classes", "boxes"])
def test_tables_of_other_images_are_refused(tables):
    with pytest.raises(ValueError, match="same images"):
        merge_tables([tables[0], tables[1].rows(np.arange(3))])
