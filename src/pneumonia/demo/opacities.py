"""Draw the opacities of pneumonia, which are boxed.

They are clouds without an edge: airspaces fill in clusters, so that they are mottled, hide the vessels and show the
air in the bronchi. Some end at a fissure, some are clumps of a bronchopneumonia, some lie behind the heart or the
diaphragm, and some are so faint that only the hidden vessels tell. Their boxes are a reader's: not exact.
"""

import cv2
import numpy as np

from pneumonia.demo.anatomy import GRID, LEFT, RIGHT, SIDE, Thorax, noise_crop
from pneumonia.demo.difficulty import Difficulty
from pneumonia.demo.regions import BOX_COUNTS, MIN_SIDE, PIXELS, Region, draw_cloud, overlap, plan_boxes

VESSELS = 0.16  # brightness of a vessel, as anatomy.py draws it
CLOUDS = ((0.40, 32.0), (0.65, 64.0), (0.65, 128.0))  # share of each component of the texture, and its wavelength


def add_opacities(
    rng: np.random.Generator, image: np.ndarray, vessels: np.ndarray, thorax: Thorax, level: Difficulty
) -> np.ndarray:
    """Draw opacities into `image` (GRID, GRID), in place.

    Returns:
        (n, 4) float64 x, y, width, height in radiograph pixels: the box of each, as a reader draws it.
    """
    count = 1 + int(rng.choice(4, p=BOX_COUNTS[thorax.pose.view]))
    regions = _regions(rng, thorax, count, level)
    density = draw_brightness(rng, level.density)
    for region in regions:
        window, weight = region.window, region.weight
        this_density = np.float32(density * rng.uniform(0.7, 1.3))
        amplitude = np.minimum(np.float32(level.texture) * this_density, 0.06)  # dense consolidation is even
        added = this_density + amplitude * _clouds(rng, *weight.shape)
        added -= 0.7 * this_density * _bronchograms(rng, thorax, region)
        hidden = np.minimum(this_density / 0.12, 0.9)  # fluid hides the borders of vessels
        added -= np.float32(VESSELS) * hidden * vessels[window] * thorax.lung[window]
        image[window] += added * weight
    return np.array([_read_box(rng, region.box, level.reader) for region in regions])


def draw_brightness(rng: np.random.Generator, distribution: tuple[float, float]) -> float:
    """Draw from a log-normal distribution: median, standard deviation of the logarithm."""
    median, spread = distribution
    return float(np.clip(median * np.exp(spread * rng.standard_normal()), 0.25 * median, 0.36))


def _regions(rng: np.random.Generator, thorax: Thorax, count: int, level: Difficulty) -> list[Region]:
    """Make `count` clouds that are mostly in the lung and whose boxes do not overlap; fewer where there is no room."""
    patchiness = rng.uniform(0.5, 1.0) if rng.random() < level.patchy_share else 0.0
    for _ in range(20):
        regions: list[Region] = []
        for plan in plan_boxes(rng, thorax, count):
            lobar = rng.random() < level.lobar_share
            region = draw_cloud(rng, thorax, plan, level.raggedness, patchiness, lobar)
            if region is None or region.box is None or min(region.box[2:]) < MIN_SIDE:
                break
            if any(overlap(region.box, other.box) for other in regions):
                break
            regions.append(region)
        if len(regions) == count:
            return regions
    if count == 1:
        raise RuntimeError("no room for an opacity in this lung")  # the lungs are far larger than MIN_SIDE
    return _regions(rng, thorax, count - 1, level)


def _clouds(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width) texture of about unit variance; bright clumps saturate, the gaps between them remain."""
    texture = np.zeros((height, width), np.float32)
    for share, wavelength in CLOUDS:
        texture += np.float32(share) * noise_crop(rng, wavelength / PIXELS, height, width)
    return np.tanh(texture) * np.float32(1.2)


def _bronchograms(rng: np.random.Generator, thorax: Thorax, region: Region) -> np.ndarray:
    """Draw dark branching lines of air in the bronchi, spreading from the hilum, 0 to 1 over the region."""
    height, width = region.weight.shape
    canvas = np.zeros((height, width), np.uint8)
    side = RIGHT if region.left + width / 2 < GRID * (0.5 + thorax.pose.shift[0]) else LEFT
    hilum = thorax.to_pixels(side * 0.06, thorax.person.apex + 0.29)[0]
    middle = np.array([region.left + width / 2, region.top + height / 2])
    for _ in range(int(rng.integers(0, 5))):
        end = middle + rng.uniform(-0.3, 0.3, 2) * (width, height)
        start = hilum + rng.uniform(0.2, 0.6) * (end - hilum)
        sag = (end - start)[::-1] * (1, -1) * rng.normal(0, 0.15)
        line = np.stack([start, (start + end) / 2 + sag, end]) - (region.left, region.top)
        cv2.polylines(canvas, [np.round(line * 16).astype(np.int32)], False, 200, 3, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(canvas, (0, 0), 1.2).astype(np.float32) / 255.0


def _read_box(rng: np.random.Generator, box: np.ndarray, spread: float) -> np.ndarray:
    """The box with each edge moved, as readers differ: x, y, width, height in radiograph pixels, on the image."""
    corners = np.concatenate([box[:2], box[:2] + box[2:]])
    corners += np.clip(rng.standard_normal(4), -2.5, 2.5) * spread * np.tile(box[2:], 2)
    corners = np.clip(corners, 0, SIDE)
    size = np.maximum(corners[2:] - corners[:2], MIN_SIDE)
    return np.concatenate([np.minimum(corners[:2], SIDE - size), size])
