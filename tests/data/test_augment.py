"""Augmentation: repeatable, boxes follow their pixels, what is listed is what is done."""

import numpy as np
import pytest

from pneumonia.data.augment import STRENGTHS, TRANSFORMS, Augmentation
from pneumonia.data.transforms import BoxJitter, Exposure, Warp, edge_points
from pneumonia.system.errors import BadInput

SIZE = 128
BOX = np.array([[40.0, 30, 50, 60]])
NOTHING = np.empty((0, 4))


def rectangle(boxes=BOX, value=200) -> np.ndarray:
    image = np.full((SIZE, SIZE), 20, np.uint8)
    for x, y, width, height in boxes.astype(int):
        image[y : y + height, x : x + width] = value
    return image


@pytest.mark.parametrize(
    "augment", [*STRENGTHS, list(TRANSFORMS)], ids=lambda each: each if isinstance(each, str) else "all"
)
def test_a_sample_is_a_pure_function_of_its_seed(augment):
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    one, other = Augmentation(augment), Augmentation(augment)
    other(image, BOX, 99)  # whatever was augmented before
    for seed in (1, 2, 2**32 - 1):
        first, second = one(image, BOX, seed), other(image, BOX, seed)
        assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
        assert first[0].shape == image.shape and first[0].dtype == np.uint8
        assert np.array_equal(one(image, NOTHING, seed)[0], first[0])  # the picture does not depend on its boxes
    assert augment == "none" or not np.array_equal(one(image, BOX, 1)[0], one(image, BOX, 2)[0])


def test_transforms_draw_independently_of_each_other():
    """Half of the flipped images have noise, and half of the others; larger images are not the darker ones."""
    image = np.full((SIZE, SIZE), 60, np.uint8)
    image[:, : SIZE // 2] = 180
    augmentation = Augmentation(["flip", {"noise": 0.05}])
    seen = [augmentation(image, NOTHING, seed)[0] for seed in range(400)]
    flipped = np.array([each[:, 0].mean() < 120 for each in seen])
    noisy = np.array([len(np.unique(each)) > 2 for each in seen])
    assert 0.35 < noisy[flipped].mean() < 0.65 and 0.35 < noisy[~flipped].mean() < 0.65
    augmentation = Augmentation([{"scale": 0.15}, {"gamma": 0.25}])
    square = rectangle(value=128)
    seen = [augmentation(square, BOX, seed) for seed in range(200)]
    widths = [boxes[0, 2] for _, boxes in seen]
    middles = [image[int(box[1] + box[3] / 2), int(box[0] + box[2] / 2)] for image, (box,) in seen]
    assert abs(np.corrcoef(widths, middles)[0, 1]) < 0.25


@pytest.mark.parametrize("entry", ["flip", {"shift": 0.1}, {"scale": 0.3}])
def test_boxes_stay_on_their_pixels(entry):
    """Without rotation a box is exactly what its pixels cover."""
    augmentation = Augmentation([entry])
    moved = 0
    for seed in range(20):
        image, boxes = augmentation(rectangle(), BOX, seed)
        rows, columns = np.flatnonzero((image > 110).any(axis=1)), np.flatnonzero((image > 110).any(axis=0))
        seen = [columns[0], rows[0], len(columns), len(rows)]
        np.testing.assert_allclose(boxes[0], seen, atol=1.0)
        moved += not np.allclose(boxes, BOX)
    assert moved > 5


def test_rotated_boxes_follow_points_on_their_edges():
    """They hold what lies around the edges' middles, and are smaller than the frame of the rotated corners."""
    warp = Warp(rotate=10.0)
    corners = np.array([[0.3, 0.25, 0.7, 0.75]])
    angle = np.deg2rad(10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([SIZE, SIZE]) / 2
    matrix = np.column_stack([turn, centre - turn @ centre])
    left, top, right, bottom = warp.apply_to_bboxes(corners, matrix, shape=(SIZE, SIZE, 1))[0] * SIZE
    pixels = corners * SIZE
    points = edge_points(pixels)[0] @ turn.T + matrix[:, 2]
    assert points[:, 0].min() == pytest.approx(left) and points[:, 1].max() == pytest.approx(bottom)
    x1, y1, x2, y2 = pixels[0]
    of_corners = np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]]) @ turn.T + matrix[:, 2]
    assert right - left < np.ptp(of_corners[:, 0]) and bottom - top < np.ptp(of_corners[:, 1])
    assert right - left > x2 - x1 and bottom - top > y2 - y1
    unturned = np.column_stack([np.eye(2), [0.0, 0.0]])
    np.testing.assert_allclose(warp.apply_to_bboxes(corners, unturned, shape=(SIZE, SIZE, 1)), corners)


def test_draws_have_the_spread_that_the_list_says():
    warp, exposure = Warp(scale=0.15, rotate=6.0), Exposure(gamma=0.25)
    warp.set_random_seed(0)
    exposure.set_random_seed(0)
    drawn = [warp.get_params_dependent_on_data({"shape": (SIZE, SIZE, 1)}, {})["matrix"] for _ in range(2000)]
    angles = [np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])) for matrix in drawn]
    scales = [np.log2(np.hypot(matrix[0, 0], matrix[1, 0])) for matrix in drawn]
    assert np.std(angles) == pytest.approx(6.0, rel=0.08) and np.std(scales) == pytest.approx(0.15, rel=0.08)
    middles = np.array([exposure.get_params()["table"][128] for _ in range(2000)]) / 255
    gammas = np.log2(np.log(middles) / np.log(128 / 255))
    assert np.std(gammas) == pytest.approx(0.25, rel=0.1)


def test_a_box_that_leaves_the_frame_is_no_finding_any_more():
    image, boxes = rectangle(np.array([[0.0, 0, 12, 12]])), np.array([[0.0, 0, 12, 12]])
    kept = [len(Augmentation([{"shift": 0.2}])(image, boxes, seed)[1]) for seed in range(40)]
    assert 0 < sum(kept) < 40


@pytest.mark.parametrize(
    ("augment", "match"),
    [
        ("heavy", "none, light, report, strong"),
        (["mirror"], "flip"),
        ([{"rotate": "six"}], "sigma in degrees"),
        ([{"shift": -0.1}], "share of the side"),
        ([{"brightness_contrast": 0.2}], "full range"),
        ([{"flip": 2}], "probability"),
        ([{"shift": float("inf")}], "from 0 to 0.5"),
        ([{"blur": 0}], "from 3 to 31"),
        ([["flip"]], "unknown transform"),
        (["flip", {"flip": 0.3}], "in the list twice"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(augment, match):
    with pytest.raises(BadInput, match=match):
        Augmentation(augment)


@pytest.mark.parametrize("augment", [["blur"], ["noise", "clahe"], [{"gamma": 0.3}, "salt_pepper"]])
def test_boxes_stay_as_they_are_where_nothing_moves_them(augment, recwarn):
    """To the last bit, and without a word: also a box beyond the frame, and one that is nearly all outside."""
    boxes = np.array([[40.123456789, 30, 50, 60], [-20.0, 5, 22, 10], [120.0, 120, 30, 30]])
    augmentation = Augmentation(augment)
    for seed in range(5):
        image, found = augmentation(rectangle(), boxes, seed)
        assert np.array_equal(found, boxes) and image.shape == (SIZE, SIZE)
        assert np.array_equal(augmentation(rectangle(), NOTHING, seed)[0], image)
    assert [str(warning.message) for warning in recwarn] == []


def test_jitter_moves_the_sides_of_boxes_and_no_pixel():
    augmentation, image = Augmentation([{"box_jitter": 0.1}]), rectangle()
    boxes = np.array([[40.0, 30, 50, 60], [2, 3, 20, 10]])
    found = np.array([augmentation(image, boxes, seed)[1] for seed in range(300)])
    assert np.array_equal(augmentation(image, boxes, 0)[0], image)
    for box, each in zip(boxes, found.transpose(1, 0, 2)):
        size = np.tile(box[2:], 2)
        moves = (
            np.concatenate([each[:, :2], each[:, :2] + each[:, 2:]], axis=1) - [*box[:2], *(box[:2] + box[2:])]
        ) / size
        inside = moves[(each[:, 0] > 0) & (each[:, 1] > 0)]  # a box is cut at the frame
        assert np.abs(moves).max() <= 0.2 + 1e-6 and np.std(inside[:, 2:]) == pytest.approx(0.09, abs=0.015)
        assert np.abs(np.corrcoef(moves.T) - np.eye(4)).max() < 0.25  # the sides move on their own
    assert (found[..., :2] >= 0).all() and (found[..., :2] + found[..., 2:] <= SIZE + 1e-6).all()
    assert np.abs(np.corrcoef(found[:, 0, 0], found[:, 1, 1])[0, 1]) < 0.25


@pytest.mark.parametrize("boxes", [NOTHING, BOX, np.tile(BOX, (3, 1))])
def test_jitter_leaves_the_draws_of_what_follows_alone(boxes):
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    augmentation, wanted = (
        Augmentation(["box_jitter", "noise", "flip"]),
        Augmentation([{"box_jitter": 0.0}, "noise", "flip"]),
    )
    for seed in range(6):
        assert np.array_equal(augmentation(image, boxes, seed)[0], wanted(image, NOTHING, seed)[0])


def test_jitter_without_strength_changes_nothing():
    warp = BoxJitter(0.0)
    corners = np.array([[0.1, 0.2, 0.4, 0.9, 7.0]])
    np.testing.assert_array_equal(warp.apply_to_bboxes(corners, seed=3), corners)
