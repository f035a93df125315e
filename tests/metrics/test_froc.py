"""FROC: hand-worked cases, a plain loop over every threshold that shares no code with it, and its intervals."""

import numpy as np
import pytest

from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.froc import (
    LARGE,
    RATES,
    SMALL,
    curve,
    false_positives_at,
    hits_at,
    match,
    means_by_label,
    points,
    sizes_of,
)
from pneumonia.metrics.intervals import person_draws
from pneumonia.metrics.iou_map import Truth

A, B = (0, 0, 10, 10), (50, 50, 10, 10)
ELSEWHERE = (80, 80, 10, 10)


def tables(images):
    """images: (true boxes, [(confidence, *box)]) each."""
    ids = [str(row) for row in range(len(images))]
    found = [np.array(predicted, dtype=float).reshape(-1, 5) for _, predicted in images]
    detections = Detections.from_lists(ids, [each[:, 1:] for each in found], [each[:, 0] for each in found])
    return Truth.from_lists(ids, [np.array(true, dtype=float).reshape(-1, 4) for true, _ in images]), detections


def random_tables(images=60, seed=0):
    """Few confidences, so that many are equal; boxes that overlap, so that several want the same truth."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        true = rng.integers(0, 40, (rng.integers(0, 4), 4)) + np.array([0, 0, 20, 20])
        near = true[rng.integers(0, len(true), rng.integers(0, 6))] if len(true) else np.empty((0, 4))
        boxes = np.concatenate(
            [near + rng.integers(-6, 7, near.shape), rng.integers(0, 40, (rng.integers(0, 3), 4)) + 5]
        )
        made.append((true, np.column_stack([rng.integers(1, 8, len(boxes)) / 8, boxes])))
    return tables(made)


def plain_counts(truth, detections, threshold, iou):
    """Found true boxes and false positives of each image by the definition."""
    found, false = [], []
    for image in range(len(truth)):
        true = [tuple(box) for box in truth.boxes[truth.offsets[image] : truth.offsets[image + 1]]]
        boxes, scores = detections.image(image)
        free, false_here = set(range(len(true))), 0
        for row in sorted(range(len(scores)), key=lambda row: (-scores[row], row)):
            if scores[row] < threshold:
                continue
            overlaps = {place: plain_iou(boxes[row], true[place]) for place in sorted(free)}
            best = max(overlaps, key=overlaps.get, default=None)
            if best is not None and overlaps[best] > iou:
                free.remove(best)
            else:
                false_here += 1
        found.append([place not in free for place in range(len(true))])
        false.append(false_here)
    return found, false


def plain_iou(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def test_a_curve_worked_by_hand():
    truth, detections = tables(
        [
            ([A, B], [(0.9, *A), (0.8, *A), (0.3, *B)]),  # the second box on A is a false positive
            ([], [(0.8, *ELSEWHERE)]),
            ([A], [(0.5, *ELSEWHERE)]),
            ([], []),
        ]
    )
    found = curve(match(truth, detections))
    assert found.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.5, 0.3]
    assert found.false_positives.tolist() == [0, 0, 0.5, 0.75, 0.75]
    np.testing.assert_allclose(found.sensitivity, [0, 1 / 3, 1 / 3, 1 / 3, 2 / 3])


@pytest.mark.parametrize("iou", [0.4, 0.5])
def test_iou_must_be_strictly_greater(iou):
    wide = (0, 0, 100, 10)
    exactly, above = (0, 0, 100 * iou, 10), (0, 0, 100 * iou + 1, 10)
    for box, sensitivity in ((exactly, 0.0), (above, 1.0)):
        truth, detections = tables([([wide], [(0.5, *box)])])
        assert curve(match(truth, detections, iou)).sensitivity[-1] == sensitivity


@pytest.mark.parametrize("seed", range(3))
def test_every_point_is_what_a_plain_loop_counts(seed):
    truth, detections = random_tables(seed=seed)
    matches = match(truth, detections)
    whole = curve(matches)
    assert len(whole.thresholds) == len(set(detections.scores.tolist())) + 1
    for threshold, false_positives, sensitivity in zip(
        whole.thresholds, whole.false_positives, whole.sensitivity, strict=True
    ):
        found, false = plain_counts(truth, detections, threshold, 0.4)
        assert sensitivity == pytest.approx(np.mean([each for image in found for each in image]))
        assert false_positives == pytest.approx(np.mean(false))
        assert hits_at(matches, [threshold])[:, 0].tolist() == [each for image in found for each in image]
        assert false_positives_at(matches, [threshold])[:, 0].tolist() == false
    assert (np.diff(whole.sensitivity) >= 0).all() and (np.diff(whole.false_positives) >= 0).all()


def test_a_point_is_the_lowest_threshold_that_its_rate_allows():
    truth, detections = random_tables()
    matches = match(truth, detections)
    for point in points(matches, np.arange(len(truth)), rates=[0.0, 0.1, 0.5, 50.0], draws=5):
        false = {each: np.mean(plain_counts(truth, detections, each, 0.4)[1]) for each in np.unique(detections.scores)}
        allowed = [each for each, rate in false.items() if rate <= point.rate]
        assert point.threshold == min(allowed, default=np.inf)
        assert point.false_positives == false.get(point.threshold, 0.0)


def test_each_draw_has_its_own_threshold():
    """The interval is of sensitivities that a plain loop finds when the drawn people's images are written out."""
    truth, detections = random_tables(images=24, seed=4)
    people = np.arange(24) // 3
    rates, draws = [1 / 4, 1.0], 8
    drawn = []
    for weight in np.concatenate(list(person_draws(8, draws, 7))):
        rows = np.repeat(np.arange(24), weight[people].astype(int))
        ids = [str(place) for place in range(len(rows))]
        taken, true = detections.rows(rows), truth.rows(rows)
        whole = curve(match(Truth(tuple(ids), true.offsets, true.boxes),
                            Detections(tuple(ids), taken.offsets, taken.boxes, taken.scores)))  # fmt: skip
        drawn.append([whole.sensitivity[whole.at(rate)] for rate in rates])
    for column, point in enumerate(points(match(truth, detections), people, rates, draws, seed=7)):
        low, high = np.percentile(np.array(drawn)[:, column], [2.5, 97.5])
        assert (point.sensitivity.low, point.sensitivity.high) == pytest.approx((low, high))


def test_people_with_many_images_make_the_interval_wider():
    truth, detections = random_tables(images=120)
    matches = match(truth, detections)
    copies = np.repeat(np.arange(120), 4)
    ids = tuple(str(row) for row in range(480))
    true, found = truth.rows(copies), detections.rows(copies)
    fourfold = match(Truth(ids, true.offsets, true.boxes), Detections(ids, found.offsets, found.boxes, found.scores))
    own = points(matches, np.arange(120), [1.0], 400)[0].sensitivity
    grouped = points(fourfold, copies, [1.0], 400)[0].sensitivity
    apart = points(fourfold, np.arange(480), [1.0], 400)[0].sensitivity
    assert (grouped.low, grouped.high) == pytest.approx((own.low, own.high))
    assert apart.high - apart.low < 0.85 * (own.high - own.low)


@pytest.mark.parametrize(
    "images",
    [
        [([], []), ([], [])],
        [([], [(0.5, *A)])],
        [([A], []), ([], [])],
    ],
    ids=["nothing to find, nothing predicted", "nothing to find", "nothing predicted"],
)
def test_empty_tables_give_no_sensitivity_or_none_found(images):
    truth, detections = tables(images)
    matches = match(truth, detections)
    for point in points(matches, np.arange(len(images)), draws=10):
        value = point.sensitivity.value
        assert value == 0.0 if len(truth.boxes) else np.isnan(value)
    assert hits_at(matches, [0.1]).shape == (len(truth.boxes), 1)
    assert false_positives_at(matches, [0.1]).shape == (len(images), 1)
    lesions = np.array(["all"] * len(truth.boxes))
    assert len(means_by_label(hits_at(matches, [0.1]), lesions, matches.image_of_lesion, 5)) == min(1, len(lesions))


def test_rates_ascend_and_sensitivity_with_them():
    truth, detections = random_tables()
    found = [point.sensitivity.value for point in points(match(truth, detections), np.arange(60), draws=20)]
    assert list(RATES) == sorted(RATES) and found == sorted(found) and len(found) == 5


def test_sizes_are_areas_in_pixels():
    boxes = np.array(
        [[0.0, 0, SMALL / 100, 100], [0, 0, 1 + SMALL / 100, 100], [5, 5, 100, LARGE / 100], [0, 0, 999, 999]]
    )
    assert sizes_of(boxes).tolist() == ["small", "medium", "medium", "large"]
    assert sizes_of(np.empty((0, 4))).tolist() == []


def test_means_are_of_each_label_s_own_rows():
    values = np.array([[1.0, 0], [0, 0], [1, 1], [1, 0]])
    made = means_by_label(values, np.array(["b", "b", "a", "a"]), np.arange(4), draws=200)
    assert list(made) == ["a", "b"]
    assert [each.value for each in made["a"]] == [1.0, 0.5]
    assert [each.value for each in made["b"]] == [0.5, 0.0]
    assert (made["a"][0].low, made["a"][0].high) == (1.0, 1.0)
    assert made["b"][0].low == 0.0 and made["b"][0].high == 1.0
