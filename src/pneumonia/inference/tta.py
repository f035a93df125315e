"""Test-time augmentation: variants of an image for the model, and the way back for its boxes.

A variant is a pair of exact inverses on the model's square: a picture goes in, boxes come back out. An experiment
names its variants as a list (`tta: [identity, flip]`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pneumonia.errors import bad_input


class Variant(NamedTuple):
    """picture: (batch, size, size, 1) to the same; boxes_back: (n, 4) x, y, width, height and size, to the same."""

    picture: Callable[[np.ndarray], np.ndarray]
    boxes_back: Callable[[np.ndarray, int], np.ndarray]


def same(images: np.ndarray) -> np.ndarray:
    return images


def same_boxes(boxes: np.ndarray, size: int) -> np.ndarray:
    return boxes


def flip(images: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    return images[:, :, ::-1]


def flip_boxes(boxes: np.ndarray, size: int) -> np.ndarray:
    """Pixel x spans [x, x + 1), so a box's left edge comes to size - (x + width)."""
    x, y, width, height = np.moveaxis(boxes, -1, 0)
    return np.stack([size - x - width, y, width, height], axis=-1)


VARIANTS = {"identity": Variant(same, same_boxes), "flip": Variant(flip, flip_boxes)}


def variants(names: list[str]) -> list[Variant]:
    """Raises BadInput for an unknown or a missing variant."""
    for name in names:
        if name not in VARIANTS:
            raise bad_input("tta", f"unknown variant '{name}'", f"known: {', '.join(VARIANTS)}")
    if not names:
        raise bad_input("tta", "no variant is named", "write tta=[identity], or [identity, flip]")
    return [VARIANTS[name] for name in names]
