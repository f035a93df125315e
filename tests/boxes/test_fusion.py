"""Fusion: equal to ensemble-boxes where no confidences tie."""

import os
import warnings
from pathlib import Path

import ensemble_boxes
import numpy as np
import pytest

from pneumonia.boxes.fusion import METHODS, Fusion, fuse
from pneumonia.boxes.geometry import to_corners
from pneumonia.boxes.predictions import Detections, read_detections

THEIR_CONFIDENCE = {
    "mean": "avg",
    "max": "max",
    "box_and_model": "box_and_model_avg",
    "absent_model_aware": "absent_model_aware_avg",
}


def random_members(seed, members=5, images=12, most=12):
    """Boxes around a few places per image, so that they overlap; in pixels of 1024."""
    generator = np.random.default_rng(seed)
    ids = [str(number) for number in range(images)]
    places = generator.uniform(50, 600, size=(images, 3, 2))
    tables = []
    for _ in range(members):
        boxes, scores = [], []
        for image in range(images):
            count = generator.integers(0, most)
            corner = places[image, generator.integers(0, 3, count)] + generator.normal(0, 25, (count, 2))
            boxes.append(np.concatenate([np.maximum(corner, 0), generator.uniform(80, 350, (count, 2))], axis=1))
            scores.append(generator.random(count))
        tables.append(Detections.from_lists(ids, boxes, scores))
    return tables


def theirs(function, tables, image, **settings):
    """ensemble-boxes on one image: boxes as corners in pixels, scores."""
    parts = [table.image(image) for table in tables]
    boxes = [to_corners(boxes) / 1024 for boxes, _ in parts]
    scores = [scores.copy() for _, scores in parts]
    labels = [np.zeros(len(scores)) for scores in scores]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        boxes, scores, _ = function(boxes, scores, labels, **settings)
    return np.asarray(boxes) * 1024, np.asarray(scores)


def assert_same(ours, boxes, scores):
    own_boxes, own_scores = ours
    assert len(own_scores) == len(scores)
    order, theirs = np.argsort(-own_scores, kind="stable"), np.argsort(-scores, kind="stable")
    np.testing.assert_allclose(own_scores[order], scores[theirs], atol=1e-6)
    np.testing.assert_allclose(to_corners(own_boxes[order]), boxes[theirs], atol=1e-3)


@pytest.mark.parametrize("confidence", THEIR_CONFIDENCE)
@pytest.mark.parametrize("seed", range(3))
def test_wbf_equals_ensemble_boxes(confidence, seed):
    tables = random_members(seed)
    weights = np.random.default_rng(seed).uniform(0.3, 2.0, len(tables)) if seed else np.ones(len(tables))
    ours = fuse(tables, Fusion(iou=0.5, min_score=0.05, confidence=confidence), weights)
    for image in range(len(ours)):
        their_settings = {"iou_thr": 0.5, "skip_box_thr": 0.05, "conf_type": THEIR_CONFIDENCE[confidence]}
        boxes, scores = theirs(
            ensemble_boxes.weighted_boxes_fusion, tables, image, weights=weights.tolist(), **their_settings
        )
        assert_same(ours.image(image), boxes, np.minimum(scores, 1.0))


@pytest.mark.parametrize("seed", range(3))
def test_nmw_equals_ensemble_boxes(seed):
    tables = random_members(seed)
    weights = [1.0, 2.0, 0.5, 1.5, 1.0]
    ours = fuse(tables, Fusion(method="nmw", iou=0.5, min_score=0.05), weights)
    for image in range(len(ours)):
        settings = {"weights": weights, "iou_thr": 0.5, "skip_box_thr": 0.05}
        assert_same(ours.image(image), *theirs(ensemble_boxes.non_maximum_weighted, tables, image, **settings))


@pytest.mark.parametrize("seed", range(3))
def test_nms_equals_ensemble_boxes(seed):
    tables = random_members(seed)
    ours = fuse(tables, Fusion(method="nms", iou=0.5, min_score=0.0))
    for image in range(len(ours)):
        assert_same(ours.image(image), *theirs(ensemble_boxes.nms, tables, image, iou_thr=0.5))


def plain_soft_nms(boxes, scores, iou, sigma, floor, linear):
    """As the paper reads. ensemble-boxes 1.0.9 cannot be the reference: it pairs boxes with other boxes' scores
    wherever its loop swaps two rows."""
    left = [(score, box) for score, box in zip(scores.tolist(), to_corners(boxes))]
    kept = []
    while left:
        place = max(range(len(left)), key=lambda i: left[i][0])
        score, best = left.pop(place)
        if score <= floor:
            break
        kept.append((score, best))
        for i, (other, box) in enumerate(left):
            sides = np.minimum(best[2:], box[2:]) - np.maximum(best[:2], box[:2])
            shared = np.prod(np.maximum(sides, 0))
            value = shared / (np.prod(best[2:] - best[:2]) + np.prod(box[2:] - box[:2]) - shared)
            decay = (1 - value if value > iou else 1.0) if linear else np.exp(-value * value / sigma)
            left[i] = (other * decay, box)
    return np.array([box for _, box in kept]).reshape(-1, 4), np.array([score for score, _ in kept])


@pytest.mark.parametrize("linear", [True, False])
def test_soft_nms_equals_the_paper(linear):
    (table,) = random_members(1, members=1, most=25)
    method = "soft_nms_linear" if linear else "soft_nms"
    ours = fuse([table], Fusion(method=method, iou=0.4, min_score=0.0, sigma=0.5, floor=0.05))
    for image in range(len(ours)):
        boxes, scores = plain_soft_nms(*table.image(image), 0.4, 0.5, 0.05, linear)
        assert_same(ours.image(image), boxes, scores)


def test_wbf_equals_ensemble_boxes_on_real_detectors():
    if not os.environ.get("RSNA_PREDICTIONS"):
        pytest.skip("RSNA_PREDICTIONS names no folder")
    tables = [read_detections(file) for file in sorted(Path(os.environ["RSNA_PREDICTIONS"], "val750").glob("*.csv"))]
    generator = np.random.default_rng(0)
    # their confidences have four digits and tie: less than a ten-thousandth is added to part them
    tables = [table.with_scores(table.scores * (1 - 1e-5 * generator.random(len(table.scores)))) for table in tables]
    ours = fuse(tables, Fusion(iou=0.55, min_score=0.0, confidence="mean"))
    for image in range(0, len(ours), 3):
        boxes, scores = theirs(ensemble_boxes.weighted_boxes_fusion, tables, image, iou_thr=0.55)
        assert_same(ours.image(image), boxes, scores)


def test_votes_by_hand():
    box, other = (100, 100, 50, 50), (500, 500, 50, 50)
    tables = [
        Detections.from_lists(["a"], [[box, other]], [[0.9, 0.95]]),
        Detections.from_lists(["a"], [[box]], [[0.3]]),
    ]
    both = fuse(tables, Fusion(confidence="votes"))
    assert both.boxes.tolist() == [list(box), list(other)]
    np.testing.assert_allclose(both.scores, [(1 + 0.6) / 2, 0.95 / 2])
    assert fuse(tables, Fusion(votes=2)).boxes.tolist() == [list(box)]
    np.testing.assert_allclose(fuse(tables, Fusion(confidence="mean")).scores, [0.6, 0.475])


def test_the_result_depends_on_neither_threads_nor_runs(monkeypatch):
    tables = random_members(3, images=40)
    whole = fuse(tables, Fusion(), threads=1)
    monkeypatch.setattr("pneumonia.boxes.fusion.BOXES_PER_BATCH", 50)
    for threads in (1, 3):
        parts = fuse(tables, Fusion(), threads=threads)
        assert parts.ids == whole.ids and np.array_equal(parts.offsets, whole.offsets)
        assert np.array_equal(parts.boxes, whole.boxes) and np.array_equal(parts.scores, whole.scores)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_in_nothing_out(method):
    empty = Detections.from_lists(["a", "b"], [[], []], [[], []])
    assert fuse([empty, empty], Fusion(method=method)).counts.tolist() == [0, 0]
    none = Detections.from_lists([], [], [])
    assert fuse([none, none], Fusion(method=method)).ids == ()


def test_a_table_of_weight_zero_takes_no_part():
    first, second = random_members(4, members=2)
    alone, both = fuse([first], Fusion()), fuse([first, second], Fusion(), [1, 0])
    assert np.array_equal(alone.boxes, both.boxes) and np.array_equal(alone.scores, both.scores)


def test_what_does_not_fit_is_refused():
    first, second = random_members(4, members=2)
    for fusion, weights in (
        (Fusion(method="best"), None),
        (Fusion(confidence="sum"), None),
        (Fusion(), [1]),
        (Fusion(), [0, 0]),
    ):
        with pytest.raises(ValueError):
            fuse([first, second], fusion, weights)
    with pytest.raises(ValueError, match="same images"):
        fuse([first, second.rows(np.arange(3))], Fusion())
