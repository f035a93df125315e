"""Augmentation of one image with its boxes, by albumentations, as a short list; seeded per sample by the caller.

    augment: [flip, {shift: 0.06}, {rotate: 6}, {gamma: 0.25}, {noise: 0.03}]

Each entry is a name of TRANSFORMS, alone or with its strength. Shift, scale, rotation and shear are one resampling,
gamma and brightness_contrast one look-up, wherever they stand in the list; the rest follows in the list's order.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pneumonia.data.transforms import Exposure, Warp
from pneumonia.system.errors import bad_input

import albumentations as A  # isort: skip  (transforms.py has told it not to look for updates)

MIN_VISIBILITY = 0.3  # a box of which less than this share stays inside the frame is no longer a finding


class Transform(NamedTuple):
    """default: strength where the list gives none. limits: least and most. make: strength to one albumentations
    transform; None for a part of Warp or Exposure. meaning: for messages and documentation."""

    default: Any
    limits: tuple[float, float]
    make: Callable[[Any], A.BasicTransform] | None
    meaning: str


TRANSFORMS = {
    "flip": Transform(0.5, (0, 1), lambda p: A.HorizontalFlip(p=p), "probability that left and right are exchanged"),
    "shift": Transform(0.06, (0, 0.5), None, "the most to either side, as a share of the side"),
    "scale": Transform(0.15, (0, 1), None, "sigma of log2 of the factor"),
    "rotate": Transform(6.0, (0, 90), None, "sigma in degrees"),
    "shear": Transform(4.0, (0, 45), None, "sigma in degrees"),
    "gamma": Transform(0.25, (0, 2), None, "sigma of log2 of the exponent"),
    "brightness_contrast": Transform([0.15, 0.2], (0, 1), None, "the most to either side, of the full range and of 1"),
    "clahe": Transform(2.0, (1, 40), lambda limit: A.CLAHE((1, limit), p=0.5), "highest contrast limit; p 0.5"),
    "blur": Transform(
        5, (3, 31), lambda size: A.GaussianBlur((3, int(size) | 1), p=0.5), "largest kernel in pixels; p 0.5"
    ),
    "noise": Transform(
        0.05, (0, 1), lambda most: A.GaussNoise((0.2 * most, most), p=0.5), "largest sigma, of 1; p 0.5"
    ),
    "salt_pepper": Transform(
        0.01, (0, 0.5), lambda most: A.SaltAndPepper((most / 10, most), p=0.1), "share of pixels; p 0.1"
    ),
    "coarse_dropout": Transform(
        4,
        (1, 64),
        lambda most: A.CoarseDropout((1, int(most)), (0.05, 0.15), (0.05, 0.15), p=0.5),
        "most rectangles of 5 to 15 % of the side that are blacked out; p 0.5",
    ),
}
WARP, EXPOSURE = ("shift", "scale", "rotate", "shear"), ("gamma", "brightness_contrast")

STRENGTHS = {
    "none": [],
    # what a second radiograph of the same person could look like
    "light": ["flip", {"shift": 0.06}, {"scale": 0.1}, {"rotate": 3}, {"gamma": 0.12},
              {"brightness_contrast": [0.12, 0.16]}],
    # the student report's MobileNet: rotation, flip and shifts (its fourth, turning gray, changes nothing here)
    "report": ["flip", {"shift": 0.1}, {"rotate": 10}],
    # second place of 2018: shift 32 px of 512, scale 2^N(0, 0.15), rotation N(0, 6), shear N(0, 4), gamma 2^N(0, 0.25)
    "strong": ["flip", {"shift": 0.0625}, {"scale": 0.15}, {"rotate": 6}, {"shear": 4}, {"gamma": 0.25},
               {"blur": 5}, {"noise": 0.05}, {"salt_pepper": 0.01}],
}  # fmt: skip


class Augmentation:
    """One experiment's transforms. Not safe to share between threads: each has a random state of its own."""

    def __init__(self, augment: str | list):
        """augment: a name of STRENGTHS, or a list.

        Raises:
            BadInput: an unknown name, or a strength that its transform refuses.
        """
        transforms = transforms_of(read_list(augment))
        boxes = A.BboxParams(format="coco", min_visibility=MIN_VISIBILITY, clip=True, filter_invalid_bboxes=True)
        moves = any(isinstance(each, A.DualTransform) for each in transforms)
        self.with_boxes = A.Compose(transforms, bbox_params=boxes) if moves else None
        self.without_boxes = A.Compose(transforms) if transforms else None

    def __call__(self, image: np.ndarray, boxes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment one sample: a pure function of its arguments.

        Args:
            image: (size, size) uint8.
            boxes: (n, 4) x, y, width, height in pixels of `image`.
            seed: of this sample in this epoch.

        Returns:
            The new image and the boxes that are still in it, of the same shapes and units. Where nothing in the list
            moves or covers boxes, they are those given.
        """
        if self.without_boxes is None:
            return image, boxes
        if len(boxes) == 0 or self.with_boxes is None:
            seeded(self.without_boxes, seed)
            return self.without_boxes(image=image[..., None])["image"][..., 0], boxes
        seeded(self.with_boxes, seed)
        result = self.with_boxes(image=image[..., None], bboxes=np.asarray(boxes, dtype=np.float64).reshape(-1, 4))
        return result["image"][..., 0], np.asarray(result["bboxes"], dtype=np.float64).reshape(-1, 4)


def seeded(compose: A.Compose, seed: int) -> None:
    """Let all transforms draw from one state, in turn. Compose's own set_random_seed gives each a state of its own with
    the same seed: flip, blur and noise would then always come together, and an enlarged image would always be dark."""
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))


def read_list(augment: str | list) -> dict[str, Any]:
    """{transform: strength} in the list's order.

    Raises:
        BadInput: an unknown strength or transform; the known ones are listed.
    """
    if isinstance(augment, str):
        if augment not in STRENGTHS:
            fix = f"known: {', '.join(STRENGTHS)}, or a list of {', '.join(TRANSFORMS)}"
            raise bad_input("augment", f"unknown strength '{augment}'", fix)
        augment = STRENGTHS[augment]
    found: dict[str, Any] = {}
    for entry in augment if isinstance(augment, list) else [augment]:
        named = entry if isinstance(entry, dict) else {str(entry): None}
        for name, strength in named.items():
            if name in found:
                raise bad_input("augment", f"{name} is named twice", "keep one of the two")
            if name not in TRANSFORMS:
                known = "; ".join(f"{known} ({each.meaning})" for known, each in TRANSFORMS.items())
                raise bad_input("augment", f"unknown transform '{name}'", f"known: {known}")
            found[name] = TRANSFORMS[name].default if strength is None else strength
    return found


def transforms_of(wanted: dict[str, Any]) -> list[A.BasicTransform]:
    """Raises BadInput for a strength that its transform refuses."""
    made: list[A.BasicTransform] = []
    geometry = {name: number(name, wanted[name]) for name in WARP if name in wanted}
    if geometry:
        made.append(Warp(**geometry))
    if any(name in wanted for name in EXPOSURE):
        brightness, contrast = pair("brightness_contrast", wanted.get("brightness_contrast", [0.0, 0.0]))
        made.append(Exposure(number("gamma", wanted.get("gamma", 0.0)), brightness, contrast))
    for name, strength in wanted.items():
        make = TRANSFORMS[name].make
        if make is None:
            continue
        try:
            made.append(make(number(name, strength)))
        except ValueError as error:
            raise refused(name, strength) from error
    return made


def number(name: str, value: Any) -> float:
    least, most = TRANSFORMS[name].limits
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise refused(name, value)
    return value


def pair(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise refused(name, value)
    return number(name, value[0]), number(name, value[1])


def refused(name: str, value: Any):
    default, (least, most), _, meaning = TRANSFORMS[name]
    fix = f"give {meaning}, from {least} to {most}, such as {default}"
    return bad_input("augment", f"{name}: {value!r} is no strength of it", fix)
