"""Draw what resembles an opacity and is not boxed: haze, effusion, nodules and masses, plates of collapsed lung."""

import cv2
import numpy as np

from pneumonia.demo.anatomy import GRID, LEFT, RIGHT, Thorax, step
from pneumonia.demo.difficulty import Difficulty
from pneumonia.demo.opacities import draw_brightness
from pneumonia.demo.regions import BOX_COUNTS, draw_cloud, plan_boxes


def add_haze(rng: np.random.Generator, image: np.ndarray, thorax: Thorax, level: Difficulty) -> None:
    """Add smooth brightness with an opacity's outline, size and place: layered effusion, oedema, overlying tissue.

    It is as bright as an opacity, but even, and the vessels show through.
    """
    count = 1 + int(rng.choice(4, p=BOX_COUNTS[thorax.pose.view]))
    amount = draw_brightness(rng, level.haze)
    for plan in plan_boxes(rng, thorax, min(count, 2)):
        region = draw_cloud(rng, thorax, plan, level.raggedness, patchiness=0.0, lobar=False)
        if region is not None:
            image[region.window] += np.float32(amount * rng.uniform(0.75, 1.25)) * region.weight


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
