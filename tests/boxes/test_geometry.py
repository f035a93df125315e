import numpy as np
import pytest

from pneumonia.boxes import geometry as boxes


def test_formats_are_inverses():
    xywh = np.array([[10.0, 20, 30, 40], [0, 0, 1024, 1024]])
    assert boxes.to_corners(xywh).tolist() == [[10, 20, 40, 60], [0, 0, 1024, 1024]]
    assert boxes.to_xywh(boxes.to_corners(xywh)).tolist() == xywh.tolist()


def test_iou_is_of_areas_without_plus_one():
    a = np.array([[0.0, 0, 10, 10]])
    b = np.array([[0.0, 0, 10, 10], [5, 0, 10, 10], [10, 0, 10, 10], [20, 20, 1, 1], [2, 2, 0, 0]])
    assert boxes.iou_matrix(a, b)[0].tolist() == pytest.approx([1, 1 / 3, 0, 0, 0])


def test_two_boxes_without_area_do_not_match():
    assert boxes.iou_matrix(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]


def test_shrink_keeps_the_centre():
    assert boxes.shrink(np.array([[100.0, 100, 200, 400]]), 0.5, 0.75).tolist() == [[150, 150, 100, 300]]


def test_clip_cuts_to_the_frame():
    cut = boxes.clip(np.array([[-10.0, 1000, 30, 40], [2000, 0, 5, 5]]), 1024, 1024)
    assert cut.tolist() == [[0, 1000, 20, 24], [1024, 0, 0, 5]]
