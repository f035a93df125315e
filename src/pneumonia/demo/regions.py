"""Where disease lies on a synthetic radiograph: soft regions with the sizes and places of the real boxes."""

from dataclasses import dataclass

import numpy as np

from pneumonia.demo.anatomy import GRID, LEFT, RIGHT, SIDE, Thorax, noise_crop, step

PIXELS = SIDE / GRID  # radiograph pixels per pixel of the drawing plane

# Boxes, measured on stage_2_train_labels.csv joined with the DICOM headers (9,555 boxes, 6,012 images).
BOX_COUNTS = {"AP": (0.357, 0.619, 0.0214, 0.0026), "PA": (0.705, 0.280, 0.0141, 0.0009)}  # 1, 2, 3, 4 boxes
BOX_SIZES = {  # (view, several boxes?): median width and height in pixels, standard deviation of their logarithms
    ("AP", False): (203, 251, 0.302, 0.481),
    ("AP", True): (224, 357, 0.274, 0.474),
    ("PA", False): (198, 197, 0.318, 0.463),
    ("PA", True): (211, 229, 0.321, 0.487),
}
SIZE_CORRELATION = 0.60  # of log width with log height
SIDES_CORRELATION = 0.76  # of log height between the two boxes of an image; widths 0.62, centres 0.67
BOX_CENTRES = {"AP": (533, 116), "PA": (532, 113)}  # y of the centre: median, standard deviation, pixels
RIGHT_SHARE = {"AP": 0.61, "PA": 0.63}  # of single boxes in the patient's right lung
# Of a cloud's outline, in pixels of the drawing plane. Few: each is a noise field that anatomy.py keeps in memory.
WAVELENGTHS = (16.0, 32.0, 64.0, 128.0)
MIN_SIDE = 56.0  # pixels: 1 % of the real boxes are narrower


@dataclass(frozen=True)
class Region:
    """A cloud on the drawing plane.

    Attributes:
        top, left: of its window on the plane.
        weight: (h, w) float32, how dense it is, 0 to about 1.6; 1 in the middle of an even cloud.
        box: x, y, width, height in radiograph pixels; None where too little of it is in a lung.
    """

    top: int
    left: int
    weight: np.ndarray
    box: np.ndarray | None

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.weight.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def plan_boxes(rng: np.random.Generator, thorax: Thorax, count: int) -> np.ndarray:
    """Plan boxes with the sizes, heights and sides of the real ones.

    Returns:
        (count, 5) centre x, centre y, width, height in radiograph pixels, and the side of the lung.
    """
    view = thorax.pose.view
    width, height, spread_w, spread_h = BOX_SIZES[view, count > 1]
    shared = rng.standard_normal(3)
    first = RIGHT if rng.random() < RIGHT_SHARE[view] else LEFT
    sides = [first, -first] if count > 1 else [first]
    sides += [int(s) for s in rng.choice([RIGHT, LEFT], count - len(sides))]
    crowded = [sides.count(s) > 1 for s in sides]
    boxes = []
    for side, shares_lung in zip(sides, crowded):
        z = rng.standard_normal(3)
        if count > 1:
            z = np.sqrt(SIDES_CORRELATION) * shared + np.sqrt(1 - SIDES_CORRELATION) * z
        w = width * np.exp(1.3 * spread_w * z[0]) * 0.98
        h = height * np.exp(1.05 * spread_h * (SIZE_CORRELATION * z[0] + np.sqrt(1 - SIZE_CORRELATION**2) * z[1]))
        if shares_lung:
            h *= 0.55
        centre, spread = BOX_CENTRES[view]
        v = (centre + 22 + spread * (1.3 * rng.standard_normal() if shares_lung else z[2])) / SIDE
        top, bottom = thorax.person.apex + 0.02, thorax.bases[side] + 0.04
        h = min(h, 0.95 * (bottom - top) * SIDE)
        half = h / SIDE / 2
        v = float(np.clip(v, top + 0.8 * half, max(bottom - 0.8 * half, top + 0.8 * half)))
        lateral = float(thorax.lateral(v))
        inner = 0.06 if side == RIGHT else 0.09
        u = side * np.clip(rng.normal((inner + lateral) / 2, 0.06), inner + 0.02, lateral - 0.02)
        x, y = thorax.to_pixels(u, v)[0] * PIXELS
        boxes.append((x, y, w, h, side))
    return np.array(boxes)


def draw_cloud(
    rng: np.random.Generator, thorax: Thorax, plan: np.ndarray, raggedness: float, patchiness: float, lobar: bool
) -> Region | None:
    """Draw a cloud that fills a planned box and fades out around it, inside of the lung of its side.

    Args:
        plan: centre x, centre y, width, height in radiograph pixels, side (see `plan_boxes`).
        raggedness: how far noise moves its outline, relative to its radius.
        patchiness: 0 for an even cloud, 1 for clumps with gaps between them.
        lobar: whether it ends at a fissure, above or below.

    Returns:
        The region; None where its window is hardly on the plane.
    """
    (cx, cy, width, height), side = plan[:4] / PIXELS, plan[4]
    x1, x2 = int(max(cx - 0.9 * width, 0)), int(min(cx + 0.9 * width, GRID))
    y1, y2 = int(max(cy - 0.9 * height, 0)), int(min(cy + 0.9 * height, GRID))
    if x2 - x1 < 16 or y2 - y1 < 16:
        return None
    x = ((np.arange(x1, x2, dtype=np.float32) + 0.5 - cx) / (width / 2))[None, :]
    y = ((np.arange(y1, y2, dtype=np.float32) + 0.5 - cy) / (height / 2))[:, None]
    radius = np.sqrt(x * x + y * y)
    for share, size in ((0.75, 0.9), (0.45, 0.4)):  # of the smaller side
        wavelength = WAVELENGTHS[np.searchsorted(WAVELENGTHS[:-1], 0.7 * size * min(width, height))]
        radius = radius + np.float32(raggedness * share) * noise_crop(rng, wavelength, y2 - y1, x2 - x1)
    weight = np.exp(-np.float32(0.7) * np.maximum(radius, 0.0) ** np.float32(rng.uniform(3.0, 5.0)))
    if patchiness:
        clumps = noise_crop(rng, 64.0, y2 - y1, x2 - x1)
        weight = weight * (1.0 - np.float32(0.7 * patchiness) * step(-clumps - 0.2, 1.2))
    sunk = np.float32(np.clip(rng.normal(0.2, 0.2), -0.3, 0.6))  # fluid is denser below
    weight = weight * (1.0 + sunk * np.clip(y, -1.0, 1.0))
    if lobar:
        weight = weight * step(0.6 - rng.choice([-1, 1]) * y + np.float32(rng.normal(0, 0.15)) * x, 0.06)
    window = slice(y1, y2), slice(x1, x2)
    weight = weight * _in_lung(thorax, window, int(side))
    return Region(y1, x1, weight.astype(np.float32), _extent(weight, x1, y1))


def _in_lung(thorax: Thorax, window: tuple[slice, slice], side: int) -> np.ndarray:
    """1 in the lung of a side, with soft edges; less behind the heart, where there is less lung in the beam."""
    lung = step(thorax.inner[window] + 0.01, 0.035) * step(thorax.v[window] - thorax.person.apex, 0.02)
    return lung * (1.0 - 0.35 * thorax.heart[window]) * (thorax.u[window] * np.float32(side) > 0)


def _extent(weight: np.ndarray, left: int, top: int) -> np.ndarray | None:
    """The tight box of a cloud's dense part: rows and columns with at least five dense pixels; None without any."""
    dense = weight > 0.35
    columns, rows = np.flatnonzero(dense.sum(axis=0) >= 5), np.flatnonzero(dense.sum(axis=1) >= 5)
    if not len(columns) or not len(rows):
        return None
    x, y, w, h = left + columns[0], top + rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return np.array([x, y, w, h], dtype=np.float64) * PIXELS


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes x, y, width, height overlap."""
    return bool(np.all(np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2]) > 0))
