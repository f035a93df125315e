"""Where opacities lie: soft, in the lung of their side, with the sizes of the real boxes."""

from dataclasses import replace

import numpy as np
import pytest

from pneumonia.demo.anatomy import GRID, LEFT, RIGHT, Thorax
from pneumonia.demo.difficulty import Difficulty
from pneumonia.demo.opacities import add_opacities, draw_brightness
from pneumonia.demo.person import draw_person, draw_pose
from pneumonia.demo.regions import BOX_SIZES, MIN_SIDE, PIXELS, draw_cloud


def thorax_of(seed: int, view: str = "AP") -> tuple[np.random.Generator, Thorax]:
    rng = np.random.default_rng([3, seed])
    return rng, Thorax(draw_person(rng), draw_pose(rng, view))


def opacities(seed: int, view: str, difficulty: Difficulty) -> tuple[np.ndarray, np.ndarray]:
    """Returns what opacities add to an empty plane, and their boxes."""
    rng, thorax = thorax_of(seed, view)
    plane = np.zeros((GRID, GRID), np.float32)
    boxes = add_opacities(rng, plane, np.zeros_like(plane), thorax, difficulty)
    return plane, boxes


@pytest.mark.parametrize("side", [RIGHT, LEFT])
def test_a_cloud_fades_out_and_stays_in_its_lung(side):
    for seed in range(8):
        rng, thorax = thorax_of(seed)
        x, y = thorax.to_pixels(side * 0.2, 0.45)[0] * PIXELS
        region = draw_cloud(rng, thorax, np.array([x, y, 200.0, 200.0, side]), 0.17, 0.0, lobar=False)
        assert region.box is not None and 0.9 < region.weight.max() < 1.7
        window = region.window
        assert not region.weight[thorax.u[window] * side <= 0].any()
        assert region.weight[thorax.inner[window] < -0.05].max(initial=0) == 0
        # from its middle to nothing it takes many pixels, wherever the lung does not end
        slopes = np.hypot(*np.gradient(region.weight))
        assert slopes[thorax.inner[window] > 0.05].max() < 0.25


def test_patches_have_gaps_and_a_lobe_ends_at_a_line():
    even, patchy, lobar = (
        [draw_cloud(*thorax_of(seed), np.array([330.0, 480.0, 300.0, 300.0, RIGHT]), 0.0, patchiness, lobar).weight
         for seed in range(12)]
        for patchiness, lobar in ((0.0, False), (1.0, False), (0.0, True))
    )  # fmt: skip
    assert np.mean([weight.sum() for weight in patchy]) < 0.9 * np.mean([weight.sum() for weight in even])
    steepest = [max(np.abs(np.diff(weight, axis=0)).max() for weight in weights) for weights in (even, lobar)]
    assert steepest[1] > 1.1 * steepest[0]


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_boxes_have_the_sizes_of_the_real_ones(view):
    sizes: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for seed in range(150):
        _, boxes = opacities(seed, view, Difficulty())
        assert (boxes >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 1024).all() and (boxes[:, 2:] >= MIN_SIDE).all()
        sizes[len(boxes) > 1] += list(boxes[:, 2:])
    for is_several, found in sizes.items():
        width, height, spread_w, spread_h = BOX_SIZES[view, is_several]
        assert np.median(found, axis=0) == pytest.approx([width, height], rel=0.18)
        assert np.log(found).std(axis=0) == pytest.approx([spread_w, spread_h], rel=0.3)


def test_a_reader_moves_the_edges_of_boxes_only():
    exact = replace(Difficulty(), reader=0.0)
    for seed in range(6):
        (plane, boxes), (same_plane, moved) = opacities(seed, "PA", exact), opacities(seed, "PA", Difficulty())
        assert np.array_equal(plane, same_plane)
        off = np.abs(moved - boxes)
        assert 0 < off.max() < 4 * 2.5 * Difficulty().reader * boxes[:, 2:].max()


def test_brightness_reaches_from_faint_to_white():
    rng = np.random.default_rng(0)
    values = np.array([draw_brightness(rng, Difficulty().density) for _ in range(2000)])
    median = Difficulty().density[0]
    assert np.median(values) == pytest.approx(median, rel=0.05)
    assert (values < median / 2).mean() > 0.04 and (values > 0.3).mean() > 0.1 and values.max() <= 0.36
