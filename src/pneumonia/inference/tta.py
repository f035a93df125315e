"""Test-time augmentation: variants of an image for the model, and the map of their boxes back to the image.

An experiment names its variants as a list, `tta: [identity, flip, scale_0.875, flip+scale_1.125, shift_-16_8]`:

    identity        the image itself
    flip            mirrored, left to right
    scale_<f>       zoomed by f about the centre; black around it for f < 1, cropped for f > 1
    shift_<dx>_<dy> moved right by dx and down by dy, in 1024ths of the side: pixels of a 1024 x 1024 original. On the
                    model's square it is rounded to whole pixels (at least one, unless it is 0), to stay sharp
    a+b             first a, then b; the picture is sampled once, so nothing that b moves back is cropped by a

Every variant is one affine map along each axis, v = factor * o + offset: pictures are resampled with this map, boxes
are mapped back with its inverse. Positions are continuous: pixel x spans [x, x + 1), its centre
is x + 0.5, and the square spans [0, size].
"""

import re
from typing import NamedTuple

import cv2
import numpy as np

from pneumonia.system.errors import bad_input

FORMS = "identity, flip, scale_<factor>, shift_<dx>_<dy>, and any of them joined by '+', like flip+scale_0.875"
SHIFT_UNIT = 1024  # side of the image in whose pixels shifts are given
LARGEST_SHIFT = SHIFT_UNIT // 2
SMALLEST_ZOOM, LARGEST_ZOOM = 0.5, 2.0  # below 0.5 linear interpolation would skip pixels

SCALE = re.compile(r"scale_(\d+(?:\.\d+)?)", re.ASCII)
SHIFT = re.compile(r"shift_(-?\d+)_(-?\d+)", re.ASCII)


class Step(NamedTuple):
    """One transform: zoom by the factors (x, y) about the centre, then move by (right, down) 1024ths of the side."""

    factor: tuple[float, float] = (1.0, 1.0)
    move: tuple[int, int] = (0, 0)


class Variant(NamedTuple):
    """One variant of an image. steps: first to last."""

    steps: tuple[Step, ...]

    def affine(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return factor and offset, (2,) each, of v = factor * o + offset along x and y, in pixels of the square."""
        factor, offset = np.ones(2), np.zeros(2)
        for step in self.steps:
            zoom = np.array(step.factor)
            factor = zoom * factor
            offset = zoom * offset + (1 - zoom) * size / 2 + [whole_pixels(shift, size) for shift in step.move]
        return factor, offset

    def picture(self, images: np.ndarray) -> np.ndarray:
        """Resample (batch, size, size, 1) uint8 or float32 images; shape and type stay, outside the image is black."""
        size = images.shape[1]
        factor, offset = self.affine(size)
        if factor[0] < 0:  # a mirror needs no sampling, and o = size - o' leaves a positive factor
            images, offset = images[:, :, ::-1], offset + np.array([factor[0] * size, 0.0])
        zoom = np.abs(factor)
        if (zoom == 1).all() and not offset.any():
            return images
        matrix = np.column_stack([np.diag(zoom), offset + (zoom - 1) / 2])  # OpenCV's 0 is the first pixel's centre
        pictures = [cv2.warpAffine(np.ascontiguousarray(image), matrix, (size, size)) for image in images[..., 0]]
        return np.stack(pictures)[..., None]

    def boxes_back(self, boxes: np.ndarray, size: int) -> np.ndarray:
        """Map the variant's boxes back to the image: (n, 4) x, y, width, height in pixels of the square of `size`.

        Boxes are not clipped: one in the black border is returned outside the image.
        """
        factor, offset = self.affine(size)
        boxes = np.asarray(boxes, dtype=np.float64)
        corner, extent = boxes[..., :2], boxes[..., 2:]
        edge = np.where(factor > 0, corner, corner + extent)  # left or upper in the image
        return np.concatenate([(edge - offset) / factor, extent / np.abs(factor)], axis=-1)


def whole_pixels(shift: int, size: int) -> int:
    """Convert a shift in 1024ths of the side to pixels of a square of `size`; only 0 becomes 0."""
    return int(np.sign(shift)) * max(1, round(abs(shift) * size / SHIFT_UNIT))


def variants(names: list[str]) -> list[Variant]:
    """Return the variants with these names.

    Raises:
        BadInput: no name, or an unknown or malformed one; the message lists the known forms.
    """
    if not names:
        raise bad_input("tta", "no variant is named", "write tta=[identity], or [identity, flip]")
    return [variant(name) for name in names]


def variant(name: str) -> Variant:
    """Return the variant. Raises BadInput for an unknown or malformed name, or a zoom out of range."""
    result = Variant(tuple(parse_step(part, name) for part in name.split("+")))
    zoom = result.affine(SHIFT_UNIT)[0][1]
    if not SMALLEST_ZOOM <= zoom <= LARGEST_ZOOM:
        fix = f"choose factors whose product is from {SMALLEST_ZOOM:g} to {LARGEST_ZOOM:g}"
        raise bad_input("tta", f"variant '{name}' zooms by {zoom:g}", fix)
    return result


def parse_step(part: str, name: str) -> Step:
    """Return the step of one part of the variant `name`. Raises BadInput."""
    if part == "identity":
        return Step()
    if part == "flip":
        return Step(factor=(-1.0, 1.0))
    if match := SCALE.fullmatch(part):
        return Step(factor=(float(match[1]), float(match[1])))
    if match := SHIFT.fullmatch(part):
        move = (int(match[1]), int(match[2]))
        if max(map(abs, move)) <= LARGEST_SHIFT:
            return Step(move=move)
        fix = f"shifts are at most {LARGEST_SHIFT}, in pixels of a {SHIFT_UNIT} x {SHIFT_UNIT} image"
        raise bad_input("tta", f"variant '{name}' moves the image by {move[0]}, {move[1]}", fix)
    raise bad_input("tta", f"unknown variant '{name}'", f"known: {FORMS}")
