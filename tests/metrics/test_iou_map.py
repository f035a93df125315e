"""The metric: hand-worked cases for every edge, and a plain loop that shares no code with it."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from pneumonia.boxes.predictions import Detections, read_detections
from pneumonia.metrics.iou_map import Truth, box_credits, image_scores, mean_iou_map, read_truth, steps_of, sweep
from pneumonia.system.errors import BadInput


def one(truth, predictions):
    """Score of one image. predictions: (confidence, x, y, width, height) each."""
    table = np.array(predictions, dtype=float).reshape(-1, 5)
    detections = Detections.from_lists(["a"], [table[:, 1:]], [table[:, 0]])
    return image_scores(Truth.from_lists(["a"], [truth]), detections)[0]


def test_nothing_to_find_and_nothing_found_does_not_count():
    assert math.isnan(one([], []))


def test_nothing_to_find_and_something_found_is_zero():
    assert one([], [(0.9, 0, 0, 10, 10)]) == 0.0


def test_something_to_find_and_nothing_found_is_zero():
    assert one([(0, 0, 10, 10)], []) == 0.0


def test_exact_box_is_one():
    assert one([(5, 5, 10, 10)], [(0.1, 5, 5, 10, 10)]) == 1.0


@pytest.mark.parametrize(
    ("width", "passed"),
    [(40, 0), (41, 1), (45, 1), (50, 2), (55, 3), (60, 4), (65, 5), (70, 6), (75, 7), (76, 8)],
)
def test_iou_must_be_strictly_above_the_threshold(width, passed):
    # a truth of 100 x 10 and a prediction of width x 10 inside it: the IoU is width / 100
    assert one([(0, 0, 100, 10)], [(0.5, 0, 0, width, 10)]) == passed / 8


def test_area_has_no_plus_one():
    # 9 / 20 = 0.45 passes 0.40 alone; with a +1 on every side it would be 20 / 42 > 0.45
    assert one([(0, 0, 20, 1)], [(0.5, 0, 0, 9, 1)]) == 1 / 8


def test_a_duplicate_is_a_false_positive():
    assert one([(0, 0, 10, 10)], [(0.9, 0, 0, 10, 10), (0.8, 0, 0, 10, 10)]) == 1 / 2


def test_a_missed_box_and_a_wrong_box_count_alike():
    truth = [(0, 0, 10, 10), (50, 50, 10, 10)]
    assert one(truth, [(0.9, 0, 0, 10, 10)]) == 1 / 2
    assert one(truth, [(0.9, 0, 0, 10, 10), (0.8, 90, 90, 5, 5)]) == 1 / 3


def test_the_more_confident_box_goes_first_and_ties_go_in_file_order():
    # truths A 0..10 and B 5..15 overlap. `both` (IoU 3/5 with A, 1/3 with B) and `only_a` (IoU 1 with A) both want A.
    truth = [(0, 0, 10, 1)]
    loose, exact = (2.5, 0, 10, 1), (0, 0, 10, 1)  # IoU 0.6 and 1
    # loose first takes the truth at 0.40 .. 0.55, exact then takes it at 0.60 .. 0.75: one hit of two boxes everywhere
    assert one(truth, [(0.9, *loose), (0.8, *exact)]) == 1 / 2
    other = [(0, 0, 10, 1), (6, 0, 10, 1)]
    first = (3, 0, 10, 1)  # IoU 7/13 = 0.538 with both truths: takes the one of highest IoU, the first in the table
    second = (0, 0, 10, 1)  # fits the first truth alone
    # in this order the second box finds its truth taken at 0.40, 0.45, 0.50 and has IoU 0.25 with the other
    assert one(other, [(0.9, *first), (0.8, *second)]) == pytest.approx((3 * 1 / 3 + 5 * 1 / 3) / 8)
    # in the other order both match at these three thresholds
    assert one(other, [(0.8, *first), (0.9, *second)]) == pytest.approx((3 * 2 / 2 + 5 * 1 / 3) / 8)
    # ties: file order decides
    assert one(other, [(0.5, *first), (0.5, *second)]) == one(other, [(0.9, *first), (0.8, *second)])
    assert one(other, [(0.5, *second), (0.5, *first)]) == one(other, [(0.8, *first), (0.9, *second)])


def test_a_prediction_takes_the_truth_of_highest_iou_not_the_first():
    truth = [(0, 0, 10, 1), (2, 0, 10, 1)]
    # box over the second truth exactly (IoU with the first is 8/12): the next box must still find the first
    assert one(truth, [(0.9, 2, 0, 10, 1), (0.8, 0, 0, 10, 1)]) == 1.0


def test_a_prediction_falls_back_to_an_unmatched_truth():
    truth = [(0, 0, 10, 1), (2, 0, 10, 1)]
    # both predictions lie on the first truth; the second has IoU 8/12 = 0.667 with the other: 2 / 2 below that
    assert one(truth, [(0.9, 0, 0, 10, 1), (0.8, 0, 0, 10, 1)]) == pytest.approx((6 * 1.0 + 2 * 1 / 3) / 8)


def test_the_mean_is_over_images_that_count():
    truth = Truth.from_lists("abc", [[(0, 0, 10, 10)], [], []])
    boxes = [[(0, 0, 10, 10)], [(0, 0, 5, 5)], []]
    detections = Detections.from_lists("abc", boxes, [[0.9], [0.2], []])
    assert mean_iou_map(truth, detections) == 0.5
    assert mean_iou_map(truth, detections, threshold=0.3) == 1.0
    assert math.isnan(mean_iou_map(truth, detections.select(["c"])))


# ------------------------------------------------------------------ against a plain loop


def plain_iou(a, b):
    across = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return across * down / (a[2] * a[3] + b[2] * b[3] - across * down)


def plain_score(truths, predictions):
    """The whole metric as slowly as it reads. truths: {id: boxes}; predictions: {id: [(confidence, box)]}."""
    points = []
    for name, found in predictions.items():
        if not truths[name]:
            if found:
                points.append(0.0)
            continue
        precisions = []
        for t in (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75):
            free = list(truths[name])
            hits = 0
            for _, box in sorted(found, key=lambda each: -each[0]):
                candidates = [(plain_iou(box, other), -place) for place, other in enumerate(free)]
                if candidates and max(candidates)[0] > t:
                    free.pop(-max(candidates)[1])
                    hits += 1
            precisions.append(hits / (len(truths[name]) + len(found) - hits))
        points.append(sum(precisions) / 8)
    return sum(points) / len(points) if points else math.nan


def random_case(seed, images=40, most=6):
    generator = np.random.default_rng(seed)
    ids = [f"image {number}" for number in range(images)]
    truths = [generator.uniform(10, 120, size=(generator.integers(0, 4), 4)) for _ in ids]
    boxes, scores = [], []
    for truth in truths:
        near = truth[generator.random(len(truth)) < 0.8]
        near = near + generator.normal(0, 6, near.shape)
        far = generator.uniform(10, 120, size=(generator.integers(0, most), 4))
        both = np.maximum(np.concatenate([near, far]), 1.0)
        boxes.append(both)
        scores.append(np.round(generator.random(len(both)), 1))  # rounded: ties
    return Truth.from_lists(ids, truths), Detections.from_lists(ids, boxes, scores)


def as_plain(truth, detections):
    rows = dict(zip(truth.ids, (truth.boxes[a:b].tolist() for a, b in zip(truth.offsets, truth.offsets[1:]))))
    found = {}
    for place, name in enumerate(detections.ids):
        boxes, scores = detections.image(place)
        found[name] = list(zip(scores.tolist(), boxes.tolist()))
    return rows, found


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_plain_loop_on_random_cases(seed):
    truth, detections = random_case(seed)
    for threshold in (0.0, 0.35, 0.7):
        kept = detections.keep(detections.scores >= threshold)
        assert mean_iou_map(truth, detections, threshold) == pytest.approx(
            plain_score(*as_plain(truth, kept)), abs=1e-12, nan_ok=True
        )


def test_equals_the_plain_loop_on_real_detectors():
    if not (os.environ.get("RSNA_PREDICTIONS") and os.environ.get("RSNA_TABLES")):
        pytest.skip("RSNA_PREDICTIONS and RSNA_TABLES name no folders")
    truth = read_truth(Path(os.environ["RSNA_TABLES"]) / "stage_2_train_labels.csv")
    files = sorted(Path(os.environ["RSNA_PREDICTIONS"], "val750").glob("*.csv"))
    assert files
    for file in files:
        detections = read_detections(file)
        for threshold in (0.0, 0.3):
            kept = detections.keep(detections.scores >= threshold)
            plain = plain_score(*as_plain(truth, kept))
            assert mean_iou_map(truth, kept) == pytest.approx(plain, abs=1e-12), file


@pytest.mark.parametrize("seed", range(4))
def test_the_sweep_is_the_score_at_every_threshold(seed):
    truth, detections = random_case(seed, images=15)
    curve = sweep(truth, detections)
    values = sorted({*detections.scores.tolist()}, reverse=True)
    assert curve.thresholds[1:].tolist() == values
    for threshold, score in zip(curve.thresholds, curve.scores):
        assert score == pytest.approx(mean_iou_map(truth, detections, threshold), abs=1e-12, nan_ok=True)
    assert curve.best()[1] == np.nanmax(curve.scores)
    assert curve.at(0.55) == pytest.approx(mean_iou_map(truth, detections, 0.55))


def test_a_weighted_sweep_is_the_sweep_of_repeated_images():
    truth, detections = random_case(5, images=12)
    weights = np.random.default_rng(0).integers(0, 3, 12)
    repeated = np.repeat(np.arange(12), weights)
    detections_again, truth_again = detections.rows(repeated), truth.rows(repeated)
    names = tuple(map(str, range(len(repeated))))
    again = sweep(
        Truth(names, truth_again.offsets, truth_again.boxes),
        Detections(names, detections_again.offsets, detections_again.boxes, detections_again.scores),
    )
    curve = sweep(truth, detections, weights.astype(float))
    for threshold, score in zip(again.thresholds[1:], again.scores[1:]):
        assert curve.at(threshold) == pytest.approx(score)


def test_the_sweep_of_nothing():
    empty = Detections.from_lists(["a", "b"], [[], []], [[], []])
    positive = sweep(Truth.from_lists("ab", [[(0, 0, 1, 1)], []]), empty)
    assert positive.best() == (positive.thresholds[0], 0.0) and positive.thresholds[0] > 1
    assert math.isnan(sweep(Truth.from_lists("ab", [[], []]), empty).best()[1])


def test_credits_are_the_share_of_thresholds_that_a_box_matches_at():
    truth = Truth.from_lists("a", [[(0, 0, 100, 10)]])
    boxes = [(500, 0, 9, 9), (0, 0, 60, 10), (0, 0, 90, 10)]
    detections = Detections.from_lists("a", [boxes], [[0.1, 0.9, 0.5]])
    assert box_credits(truth, detections).tolist() == [0, 4 / 8, 4 / 8]
    assert steps_of(truth, detections).confidence.tolist() == [0.9, 0.5, 0.1]


# ------------------------------------------------------------------ the label table

HEADER = "patientId,x,y,width,height,Target\n"


def test_labels_are_read_with_ids_as_text(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text(HEADER + "NA,,,,,0\n1e5,264,152.5,213,379,1\n007,,,,,0\n1e5,562,152,256,453,1\n")
    truth = read_truth(file)
    assert truth.ids == ("NA", "1e5", "007")
    assert truth.boxes.tolist() == [[264, 152.5, 213, 379], [562, 152, 256, 453]]
    assert truth.positive.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("rows", "row", "word"),
    [
        ("a,,,,,2\n", 2, "Target"),
        ("a,1,2,3,4,0\n", 2, "but there is a box"),
        ("a,1,2,3,,1\n", 2, "height is empty"),
        ("a,1,2,-3,4,1\n", 2, "not above 0"),
        ("a,,,,,0\na,1,2,3,4,1\n", 3, "row 2"),
        ("a,,,,,0\nb,,,,,0\na,,,,,0\n", 4, "row 2"),
        ("a,1,2,3,4,1\na,5,6,7,8,1\na,1.0,2,3,4.00,1\n", 4, "repeats row 2"),
        ("a,,,,0\n", 2, "5 cells"),
    ],
)
def test_bad_labels_name_their_row(tmp_path, rows, row, word):
    file = tmp_path / "labels.csv"
    file.write_text(HEADER + rows)
    with pytest.raises(BadInput) as caught:
        read_truth(file)
    assert caught.value.faults[0].row == row and word in caught.value.faults[0].what
