"""What disease adds to a synthetic radiograph: opacities (boxed) and distractors (not boxed).

Opacities differ from distractors in texture, not in brightness: airspace consolidation is mottled and cloudy, has air
bronchograms, and hides the vessels; effusion, mass, atelectasis and haze are smooth and as bright or brighter. Haze has
the outlines, sizes and positions of opacities.
"""

from dataclasses import dataclass

import cv2
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


@dataclass(frozen=True)
class Difficulty:
    """What makes the task hard. Brightnesses are in units of the drawing plane: black to white is about 1."""

    mottle: tuple[float, float] = (0.075, 0.120)  # amplitude of an opacity's texture, standard deviation
    wavelengths: tuple[float, float, float] = (26.0, 44.0, 80.0)  # of the texture, in radiograph pixels
    density: tuple[float, float] = (0.0, 0.14)  # mean brightness that an opacity adds
    haze: tuple[float, float] = (0.05, 0.20)  # brightness of a smooth haze
    haze_share: float = 0.55  # of not-normal images with a haze shaped like an opacity
    haze_beside: float = 0.50  # of opacity images with an additional haze
    unevenness: float = 0.026  # standard deviation of smooth brightness over the whole body: scatter, soft tissue
    softness: float = 0.30  # width of an opacity's soft edge, relative to its radius
    raggedness: float = 0.30  # how far noise moves its outline, relative to its radius


@dataclass
class Patch:
    """A soft-edged region of the drawing plane: `weight` (h, w) in [0, 1], its top-left corner, and its extent."""

    top: int
    left: int
    weight: np.ndarray
    box: np.ndarray | None  # x, y, width, height in radiograph pixels; None where too little of it is in the lung

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.weight.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def _patch(rng: np.random.Generator, thorax: Thorax, plan: np.ndarray, level: Difficulty) -> Patch | None:
    """A ragged, soft-edged region filling a planned box (see `_planned_boxes`), cut to the lung of its side."""
    (cx, cy, width, height), side = plan[:4] / PIXELS, plan[4]
    reach = 0.62
    x1, x2 = int(max(cx - reach * width, 0)), int(min(cx + reach * width, GRID))
    y1, y2 = int(max(cy - reach * height, 0)), int(min(cy + reach * height, GRID))
    if x2 - x1 < 16 or y2 - y1 < 16:
        return None
    x = np.abs((np.arange(x1, x2, dtype=np.float32) + 0.5 - cx) / (width / 2))[None, :]
    y = np.abs((np.arange(y1, y2, dtype=np.float32) + 0.5 - cy) / (height / 2))[:, None]
    power = rng.uniform(2.0, 3.2)
    radius = (x**power + y**power) ** np.float32(1.0 / power)
    radius += np.float32(level.raggedness * 0.5) * noise_crop(rng, 64.0, y2 - y1, x2 - x1)
    weight = (
        step(1.0 - radius, level.softness) * thorax.lung[y1:y2, x1:x2] * (thorax.u[y1:y2, x1:x2] * np.float32(side) > 0)
    )
    return Patch(y1, x1, weight, _extent(weight, x1, y1))


def _extent(weight: np.ndarray, left: int, top: int) -> np.ndarray | None:
    """The tight box of a patch's visible part: rows and columns with at least five dense pixels; None without any."""
    dense = weight > 0.4
    columns, rows = np.flatnonzero(dense.sum(axis=0) >= 5), np.flatnonzero(dense.sum(axis=1) >= 5)
    if not len(columns) or not len(rows):
        return None
    x, y, w, h = left + columns[0], top + rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return np.array([x, y, w, h], dtype=np.float64) * PIXELS


def _planned_boxes(rng: np.random.Generator, thorax: Thorax, count: int) -> np.ndarray:
    """Plan boxes of opacities, with the sizes and vertical positions of the real boxes.

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
        w = width * np.exp(1.3 * spread_w * z[0]) * 1.04
        h = height * np.exp(1.1 * spread_h * (SIZE_CORRELATION * z[0] + np.sqrt(1 - SIZE_CORRELATION**2) * z[1])) * 0.95
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


TEXTURE_SHARES = (0.60, 0.75, 0.45)  # standard deviation of each component of the texture, finest first
MIN_SIDE = 56.0  # pixels; smaller opacities are drawn again: 1 % of the real boxes are narrower


def _opacity_regions(rng: np.random.Generator, thorax: Thorax, count: int, level: Difficulty) -> list[Patch]:
    """Make `count` patches that are mostly in the lung and do not overlap; fewer where there is no room."""
    for _ in range(20):
        patches: list[Patch] = []
        for plan in _planned_boxes(rng, thorax, count):
            patch = _patch(rng, thorax, plan, level)
            if patch is None or patch.box is None or min(patch.box[2:]) < MIN_SIDE:
                break
            if any(_overlap(patch.box, other.box) for other in patches):
                break
            patches.append(patch)
        if len(patches) == count:
            return patches
    if count == 1:
        raise RuntimeError("no room for an opacity in this lung")  # the lungs are far larger than MIN_SIDE
    return _opacity_regions(rng, thorax, count - 1, level)


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes x, y, width, height overlap."""
    return bool(np.all(np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2]) > 0))


def add_opacities(
    rng: np.random.Generator, image: np.ndarray, vessels: np.ndarray, thorax: Thorax, level: Difficulty
) -> np.ndarray:
    """Draw consolidations into `image` (GRID, GRID), in place.

    Returns:
        (n, 4) float64 x, y, width, height in radiograph pixels: the tight extent of each.
    """
    count = 1 + int(rng.choice(4, p=BOX_COUNTS[thorax.pose.view]))
    patches = _opacity_regions(rng, thorax, count, level)
    density, mottle = rng.uniform(*level.density), rng.uniform(*level.mottle)
    for patch in patches:
        window, weight = patch.window, patch.weight
        height, width = weight.shape
        texture = np.zeros_like(weight)
        for share, wavelength in zip(TEXTURE_SHARES, level.wavelengths):
            texture += np.float32(share) * noise_crop(rng, wavelength / PIXELS, height, width)
        # airspaces fill in clusters: bright patches saturate, the gaps between them remain
        texture = np.tanh(np.float32(0.9) * texture) * np.float32(1.1)
        this_density, this_mottle = density * rng.uniform(0.75, 1.25), mottle * rng.uniform(0.85, 1.15)
        added = np.float32(this_density) + np.float32(this_mottle) * texture
        added -= np.float32(this_density * 0.8) * _bronchograms(rng, thorax, patch)
        added -= np.float32(0.16 * 0.8) * vessels[window]  # fluid hides the borders of vessels
        image[window] += added * weight
    return np.array([patch.box for patch in patches])


def _bronchograms(rng: np.random.Generator, thorax: Thorax, patch: Patch) -> np.ndarray:
    """Draw dark branching lines of air in the bronchi, spreading from the hilum, 0 to 1 over the patch."""
    height, width = patch.weight.shape
    canvas = np.zeros((height, width), np.uint8)
    side = RIGHT if patch.left + width / 2 < GRID * (0.5 + thorax.pose.shift[0]) else LEFT
    hilum = thorax.to_pixels(side * 0.06, thorax.person.apex + 0.29)[0]
    middle = np.array([patch.left + width / 2, patch.top + height / 2])
    for _ in range(int(rng.integers(2, 6))):
        end = middle + rng.uniform(-0.45, 0.45, 2) * (width, height)
        start = hilum + rng.uniform(0.2, 0.6) * (end - hilum)
        sag = (end - start)[::-1] * (1, -1) * rng.normal(0, 0.15)
        line = np.stack([start, (start + end) / 2 + sag, end]) - (patch.left, patch.top)
        cv2.polylines(canvas, [np.round(line * 16).astype(np.int32)], False, 200, 3, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(canvas, (0, 0), 1.2).astype(np.float32) / 255.0


# --- distractors: bright, smooth, never boxed -------------------------------------------------------------------


def add_haze(rng: np.random.Generator, image: np.ndarray, thorax: Thorax, level: Difficulty) -> None:
    """Add smooth brightness with an opacity's outline, size and place: layered effusion, overlying tissue, a shadow."""
    count = 1 + int(rng.choice(4, p=BOX_COUNTS[thorax.pose.view]))
    amount = rng.uniform(*level.haze)
    for plan in _planned_boxes(rng, thorax, min(count, 2)):
        patch = _patch(rng, thorax, plan, level)
        if patch is not None:
            image[patch.window] += np.float32(amount * rng.uniform(0.75, 1.25)) * patch.weight


def add_effusion(rng: np.random.Generator, image: np.ndarray, thorax: Thorax) -> None:
    """Add pleural fluid: a smooth meniscus that fills the base and rises along the chest wall."""
    for side in (RIGHT, LEFT) if rng.random() < 0.35 else (int(rng.choice([RIGHT, LEFT])),):
        level = thorax.bases[side] - rng.uniform(0.0, 0.16)
        climb = rng.uniform(0.06, 0.16)
        off_wall = np.clip((thorax.person.thorax - thorax.across) / 0.22, 0.0, 1.0)
        meniscus = level - climb * (1.0 - off_wall) ** 2.5
        fluid = step(thorax.v - meniscus, rng.uniform(0.015, 0.045)) * (np.sign(thorax.u) == side)
        image += np.float32(rng.uniform(0.14, 0.30)) * fluid * thorax.lung


def add_nodules(rng: np.random.Generator, image: np.ndarray, thorax: Thorax, mass: bool) -> None:
    """Add round smooth shadows: one mass, or up to five nodules."""
    for _ in range(1 if mass else int(rng.integers(1, 6))):
        radius = rng.uniform(24, 55) if mass else rng.uniform(6, 15)
        v = rng.uniform(thorax.person.apex + 0.06, thorax.bases[RIGHT] - 0.04)
        u = rng.choice([RIGHT, LEFT]) * rng.uniform(0.09, max(float(thorax.lateral(v)) - 0.03, 0.1))
        x, y = thorax.to_pixels(u, v)[0]
        y1, y2 = int(np.clip(y - 1.6 * radius, 0, GRID)), int(np.clip(y + 1.6 * radius, 0, GRID))
        x1, x2 = int(np.clip(x - 1.6 * radius, 0, GRID)), int(np.clip(x + 1.6 * radius, 0, GRID))
        a = (np.arange(x1, x2, dtype=np.float32) - x)[None, :] / (radius * rng.uniform(0.8, 1.25))
        b = (np.arange(y1, y2, dtype=np.float32) - y)[:, None] / radius
        ball = np.sqrt(np.clip(1.0 - a * a - b * b, 0.0, None)) * np.float32(rng.uniform(0.12, 0.26))
        image[y1:y2, x1:x2] += ball * thorax.lung[y1:y2, x1:x2]


def add_atelectasis(rng: np.random.Generator, image: np.ndarray, thorax: Thorax) -> None:
    """Add plates of collapsed lung: one to three smooth, nearly horizontal bands over the bases."""
    canvas = np.zeros((GRID, GRID), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        side = int(rng.choice([RIGHT, LEFT]))
        v = thorax.bases[side] - rng.uniform(0.02, 0.16)
        u = np.linspace(rng.uniform(0.06, 0.12), rng.uniform(0.20, 0.32), 6)
        v = v + rng.normal(0, 0.15) * (u - 0.15) + rng.normal(0, 0.01) * np.sin(np.linspace(0, 3, 6))
        points = np.round(thorax.to_pixels(side * u, v) * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, int(rng.integers(110, 255)), int(rng.integers(3, 11)), cv2.LINE_AA, 4)
    band = cv2.GaussianBlur(canvas, (0, 0), 1.8).astype(np.float32) / 255.0
    image += 0.20 * band * thorax.lung


def add_distractors(rng: np.random.Generator, image: np.ndarray, thorax: Thorax, kind: str, level: Difficulty) -> None:
    """Add the distractors of one image by its class: many in not_normal, some next to an opacity, none in normal."""
    if kind == "normal":
        return
    haze, other = (level.haze_share, 0.42) if kind == "not_normal" else (level.haze_beside, 0.16)
    if rng.random() < haze:
        add_haze(rng, image, thorax, level)
    if rng.random() < other:
        add_effusion(rng, image, thorax)
    if rng.random() < 0.7 * other:
        add_nodules(rng, image, thorax, mass=rng.random() < 0.45)
    if rng.random() < 0.8 * other:
        add_atelectasis(rng, image, thorax)
