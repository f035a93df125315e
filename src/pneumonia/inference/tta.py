"""Test-time augmentation: variants of an image for the model, and the way back for its boxes.

An experiment names its variants as a list, `tta: [identity, flip, scale_0.875, flip+scale_1.125, shift_-16_8]`:

    identity        the image itself
    flip            left and right exchanged
    scale_<f>       zoomed by f about the centre; black around it for f < 1, cropped for f > 1
    shift_<dx>_<dy> moved right by dx and down by dy, in 1024ths of the side: pixels of a 1024 x 1024 original. On the
                    model's square that is rounded to whole pixels (at least one, unless it is 0), so that nothing blurs
    a+b             first a, then b; the picture is sampled once, so that what only a would crop is not lost

Every variant is one affine map along each axis, v = factor * o + offset, and both ways use that same map: pictures are
sampled where it says, boxes go back through its inverse. Positions are continuous: pixel x spans [x, x + 1), its centre
is x + 0.5, and the square spans [0, size].
"""

import re
from typing import NamedTuple

import cv2
import numpy as np

from pneumonia.system.errors import bad_input

FORMS = "identity, flip, scale_<factor>, shift_<dx>_<dy>, and any of them joined by '+', like flip+scale_0.875"
SHIFT_UNIT = 1024  # side, in its own pixels, of the image on which a shift is given
LARGEST_SHIFT = SHIFT_UNIT // 2
SMALLEST_ZOOM, LARGEST_ZOOM = 0.5, 2.0  # below a half, linear interpolation would skip pixels of the image

SCALE = re.compile(r"scale_(\d+(?:\.\d+)?)", re.ASCII)
SHIFT = re.compile(r"shift_(-?\d+)_(-?\d+)", re.ASCII)


class Step(NamedTuple):
    """Multiplied by the factors (x, y) about the centre, then moved by (right, down) 1024ths of the side."""

    factor: tuple[float, float] = (1.0, 1.0)
    move: tuple[int, int] = (0, 0)


class Variant(NamedTuple):
    """One way of showing an image: its steps, first to last."""

    steps: tuple[Step, ...]

    def affine(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Factor (2,) and offset (2,) of v = factor * o + offset along x and y, in pixels of a square of `size`."""
        factor, offset = np.ones(2), np.zeros(2)
        for step in self.steps:
            by = np.array(step.factor)
            factor = by * factor
            offset = by * offset + (1 - by) * size / 2 + [whole_pixels(each, size) for each in step.move]
        return factor, offset

    def picture(self, images: np.ndarray) -> np.ndarray:
        """(batch, size, size, 1) uint8 or float32, to the same; black where the image has nothing."""
        size = images.shape[1]
        factor, offset = self.affine(size)
        if factor[0] < 0:  # a mirror needs no sampling, and o = size - o' leaves a positive factor
            images, offset = images[:, :, ::-1], offset + np.array([factor[0] * size, 0.0])
        zoom = np.abs(factor)
        if (zoom == 1).all() and not offset.any():
            return images
        matrix = np.column_stack([np.diag(zoom), offset + (zoom - 1) / 2])  # OpenCV's 0 is the first pixel's centre
        seen = [cv2.warpAffine(np.ascontiguousarray(image), matrix, (size, size)) for image in images[..., 0]]
        return np.stack(seen)[..., None]

    def boxes_back(self, boxes: np.ndarray, size: int) -> np.ndarray:
        """Boxes found in the variant to the image's own: (n, 4) x, y, width, height in pixels of the square of `size`,
        to the same. Nothing is cut: a box that was found in the black border comes back outside the frame."""
        factor, offset = self.affine(size)
        boxes = np.asarray(boxes, dtype=np.float64)
        corner, extent = boxes[..., :2], boxes[..., 2:]
        edge = np.where(factor > 0, corner, corner + extent)  # the one that is left or upper in the image
        return np.concatenate([(edge - offset) / factor, extent / np.abs(factor)], axis=-1)


def whole_pixels(shift: int, size: int) -> int:
    """A shift in 1024ths of the side as pixels of a square of `size`; rounding never makes it vanish."""
    return int(np.sign(shift)) * max(1, round(abs(shift) * size / SHIFT_UNIT))


def variants(names: list[str]) -> list[Variant]:
    """The variants of an experiment's list.

    Raises:
        BadInput: an unknown or malformed name, where the known forms are listed; or no name at all.
    """
    if not names:
        raise bad_input("tta", "no variant is named", "write tta=[identity], or [identity, flip]")
    return [variant(name) for name in names]


def variant(name: str) -> Variant:
    """Raises BadInput for an unknown or malformed name, or a zoom out of range."""
    found = Variant(tuple(step(part, name) for part in name.split("+")))
    zoom = found.affine(SHIFT_UNIT)[0][1]
    if not SMALLEST_ZOOM <= zoom <= LARGEST_ZOOM:
        fix = f"choose factors from {SMALLEST_ZOOM:g} to {LARGEST_ZOOM:g}, their product too"
        raise bad_input("tta", f"variant '{name}' zooms by {zoom:g}", fix)
    return found


def step(part: str, name: str) -> Step:
    """One part of the variant `name`."""
    if part == "identity":
        return Step()
    if part == "flip":
        return Step(factor=(-1.0, 1.0))
    if found := SCALE.fullmatch(part):
        return Step(factor=(float(found[1]), float(found[1])))
    if found := SHIFT.fullmatch(part):
        move = (int(found[1]), int(found[2]))
        if max(map(abs, move)) <= LARGEST_SHIFT:
            return Step(move=move)
        fix = f"shifts are at most {LARGEST_SHIFT}, in pixels of a {SHIFT_UNIT} x {SHIFT_UNIT} image"
        raise bad_input("tta", f"variant '{name}' moves the image by {move[0]}, {move[1]}", fix)
    raise bad_input("tta", f"unknown variant '{name}'", f"known: {FORMS}")
