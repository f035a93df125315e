"""RetinaNet's anchors, assignment and losses; what every family must do is in test_contract.py."""

import keras
import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.decoding.anchors import PER_CELL, STRIDES, Shapes, fit, grid
from pneumonia.models.registry import family
from pneumonia.models.retinanet import losses as objective
from pneumonia.training.learner import as_tensors

SIZE = 64
NONE, ONE = np.empty((0, 4)), np.array([[8.0, 16, 24, 32]])
BATCHES = {  # two images each
    "one, and none": [ONE, NONE],
    "twice the same": [np.concatenate([ONE, ONE]), NONE],
    "smaller than a cell": [np.array([[9.0, 9, 2, 2]]), np.array([[0.0, 0, 1, 1]])],
    "the whole image": [np.array([[0.0, 0, SIZE, SIZE]]), ONE],
    "none at all": [NONE, NONE],
}


def make(**settings):
    return family(schema.model_settings("retinanet", channels=16, **settings), SIZE)


def boxes_like_radiologists(count=300, size=256):
    rng = np.random.default_rng(0)
    height = rng.uniform(40, 120, count)
    width = height * rng.uniform(0.5, 0.8, count)
    return np.stack([rng.uniform(0, size - width), rng.uniform(0, size - height), width, height], axis=1)


def test_the_grid_has_the_networks_number_and_order_of_anchors():
    anchors = grid(256, Shapes(4.0, [0.5, 1.0, 2.0]))
    cells = [(256 // stride) ** 2 for stride in STRIDES]
    assert len(anchors) == PER_CELL * sum(cells)
    first = geometry.to_xywh(anchors[:PER_CELL].astype(np.float64))
    np.testing.assert_allclose(first[:, :2] + first[:, 2:] / 2, 4.0, atol=1e-4)
    np.testing.assert_allclose(first[:3, 3] / first[:3, 2], [0.5, 1.0, 2.0], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(first[:, 2] * first[:, 3]), 32 * np.repeat([1, 2 ** (1 / 3), 2 ** (2 / 3)], 3))
    second = geometry.to_xywh(anchors[PER_CELL : 2 * PER_CELL].astype(np.float64))
    np.testing.assert_allclose(second[:, 0] - first[:, 0], 8.0, atol=1e-4)


def test_fitted_anchors_are_nearer_to_the_boxes_than_the_papers():
    boxes = boxes_like_radiologists()
    shapes, mean_iou = fit([boxes[:100], NONE, boxes[100:]], 256)
    paper = geometry.to_xywh(grid(256, Shapes(4.0, [0.5, 1.0, 2.0])).astype(np.float64))
    assert mean_iou > geometry.iou_matrix(boxes, paper).max(axis=1).mean() + 0.03
    assert 1.2 < shapes.ratios[0] < shapes.ratios[1] < shapes.ratios[2] < 2.0
    assert fit([boxes[::-1]], 256)[0].ratios == shapes.ratios
    assert fit([NONE], 256) == (Shapes(4.0, [0.5, 1.0, 2.0]), 0.0)


def test_fitted_anchors_stay_with_the_model(capsys):
    unfitted = make()
    settings = unfitted.fit_to_boxes([ONE, NONE])
    assert "height / width" in capsys.readouterr().err
    fitted = unfitted.with_decoder(settings)
    assert fitted.fit_to_boxes([ONE]) == {}
    assert not np.array_equal(fitted.anchors, unfitted.anchors)


def test_an_anchor_in_between_is_not_counted_and_the_nearest_is_positive():
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 22], [0, 0, 10, 40], [50, 50, 60, 60]], np.float32)
    true = np.array([[[0, 0, 10, 10], [0, 0, 0, 0]], [[52, 52, 56, 56], [0, 0, 0, 0]]], np.float32)
    found = objective.assign(anchors, true, np.array([[1, 0], [1, 0]], np.float32))
    np.testing.assert_array_equal(found.positive, [[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(found.counted, [[1, 0, 1, 1], [1, 1, 1, 1]])
    np.testing.assert_array_equal(np.asarray(found.boxes)[1, 3], true[1, 0])


def test_offsets_of_zero_are_the_anchors_and_shifts_are_in_their_sides():
    anchors = np.array([[10.0, 10, 30, 50]], np.float32)
    np.testing.assert_allclose(objective.decode(np.zeros((1, 4), np.float32), anchors), anchors)
    moved = objective.decode(np.array([[0.5, -0.25, np.log(2), 0]], np.float32), anchors)
    np.testing.assert_allclose(moved, [[10, 0, 50, 40]], rtol=1e-5)


def test_the_focal_loss_is_its_formula():
    logits, positive = np.array([0.0, 2.0, -3.0], np.float32), np.array([1.0, 0, 1], np.float32)
    p = 1 / (1 + np.exp(-logits))
    wanted = np.where(positive == 1, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p))
    np.testing.assert_allclose(objective.focal(logits, positive), wanted, rtol=1e-5)


def test_every_number_of_boxes_has_finite_losses_and_none_at_all_has_no_box_loss():
    of_name = make(image_loss=0.5)
    network = of_name.build()
    outputs = network(np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 1)).astype(np.uint8))
    for name, boxes in BATCHES.items():
        targets = as_tensors(of_name.targets(boxes, np.array([2 if len(each) else 0 for each in boxes])))
        losses = {key: float(value) for key, value in of_name.losses(targets, outputs).items()}
        assert set(losses) == {"class", "box", "image"} and np.isfinite(list(losses.values())).all(), name
        assert (losses["box"] > 0) == (name != "none at all"), name
    expected = outputs["logits"].shape[1]
    assert len(of_name.anchors) == expected


@pytest.mark.parametrize("prior", [0.01, 0.2])
def test_the_prior_is_what_an_anchor_says_at_the_start(prior):
    keras.utils.set_random_seed(0)
    bias = make(class_prior=prior).build().get_layer("class_last").bias
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(bias))), prior, rtol=1e-5)
