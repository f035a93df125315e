"""Augmentation of one image with its boxes, by albumentations, as a short list; the caller gives each sample's seed.

    augment: [flip, {shift: 0.06}, {rotate: 6}, {gamma: 0.25}, {noise: 0.03}]

Each entry is a name in TRANSFORMS, alone or with its strength. Shift, scale, rotation and shear are one resampling,
gamma and brightness_contrast one look-up; both come first, wherever they are in the list. The others follow in order.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pneumonia.data.transforms import BoxJitter, Exposure, Warp
from pneumonia.system.errors import BadInput, bad_input

import albumentations as A  # isort: skip  (after transforms.py)

MIN_VISIBILITY = 0.3  # share of a box that must stay inside the image; otherwise the box is dropped


class Transform(NamedTuple):
    """default: strength where the list has none. limits: lowest and highest strength. make: builds an albumentations
    transform from a strength; None for a part of Warp or Exposure. meaning: of the strength, for messages and docs."""

    default: Any
    limits: tuple[float, float]
    make: Callable[[Any], A.BasicTransform] | None
    meaning: str


TRANSFORMS = {
    "flip": Transform(0.5, (0, 1), lambda p: A.HorizontalFlip(p=p), "probability of exchanging left and right"),
    "shift": Transform(0.06, (0, 0.5), None, "largest shift to either side, as a share of the side"),
    "scale": Transform(0.15, (0, 1), None, "sigma of log2 of the factor"),
    "rotate": Transform(6.0, (0, 90), None, "sigma in degrees"),
    "shear": Transform(4.0, (0, 45), None, "sigma in degrees"),
    "gamma": Transform(0.25, (0, 2), None, "sigma of log2 of the exponent"),
    "brightness_contrast": Transform(
        [0.15, 0.2], (0, 1), None, "largest change up or down, as shares of the full range and of 1"
    ),
    "clahe": Transform(2.0, (1, 40), lambda limit: A.CLAHE((1, limit), p=0.5), "highest contrast limit; p 0.5"),
    "blur": Transform(
        5, (3, 31), lambda size: A.GaussianBlur((3, int(size) | 1), p=0.5), "largest kernel in pixels; p 0.5"
    ),
    "noise": Transform(
        0.05, (0, 1), lambda sigma: A.GaussNoise((0.2 * sigma, sigma), p=0.5), "largest sigma, of 1; p 0.5"
    ),
    "salt_pepper": Transform(
        0.01, (0, 0.5), lambda share: A.SaltAndPepper((share / 10, share), p=0.1), "share of pixels; p 0.1"
    ),
    "coarse_dropout": Transform(
        4,
        (1, 64),
        lambda count: A.CoarseDropout((1, int(count)), (0.05, 0.15), (0.05, 0.15), p=0.5),
        "largest number of black rectangles of 5 to 15 % of the side; p 0.5",
    ),
    "box_jitter": Transform(
        0.05, (0, 0.2), lambda sigma: BoxJitter(sigma), "sigma of each side of a box, as a share of its width or height"
    ),
}
WARP, EXPOSURE = ("shift", "scale", "rotate", "shear"), ("gamma", "brightness_contrast")

STRENGTHS = {
    "none": [],
    # what a second radiograph of the same person could look like
    "light": ["flip", {"shift": 0.06}, {"scale": 0.1}, {"rotate": 3}, {"gamma": 0.12},
              {"brightness_contrast": [0.12, 0.16]}],
    # the student report's MobileNet: rotation, flip and shifts (its fourth, conversion to gray, changes nothing here)
    "report": ["flip", {"shift": 0.1}, {"rotate": 10}],
    # second place of 2018: shift 32 px of 512, scale 2^N(0, 0.15), rotation N(0, 6), shear N(0, 4), gamma 2^N(0, 0.25)
    "strong": ["flip", {"shift": 0.0625}, {"scale": 0.15}, {"rotate": 6}, {"shear": 4}, {"gamma": 0.25},
               {"blur": 5}, {"noise": 0.05}, {"salt_pepper": 0.01}],
}  # fmt: skip


class Augmentation:
    """One experiment's transforms. Not thread-safe: each instance has its own random state."""

    def __init__(self, augment: str | list):
        """augment: a name of STRENGTHS, or a list.

        Raises:
            BadInput: an unknown name, or a strength that is out of range.
        """
        transforms = build_transforms(read_list(augment))
        boxes = A.BboxParams(format="coco", min_visibility=MIN_VISIBILITY, clip=True, filter_invalid_bboxes=True)
        moves_boxes = any(isinstance(transform, A.DualTransform) for transform in transforms)
        self.with_boxes = A.Compose(transforms, bbox_params=boxes) if moves_boxes else None
        self.without_boxes = A.Compose(transforms) if transforms else None

    def __call__(self, image: np.ndarray, boxes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment one sample; the result depends on the arguments only.

        Args:
            image: (size, size) uint8.
            boxes: (n, 4) x, y, width, height in pixels of `image`.
            seed: of this sample in this epoch.

        Returns:
            The new image and the boxes that are still in it, in the same shapes and units. Boxes are unchanged where
            no transform moves or covers them.
        """
        if self.without_boxes is None:
            return image, boxes
        if len(boxes) == 0 or self.with_boxes is None:
            seed_transforms(self.without_boxes, seed)
            return self.without_boxes(image=image[..., None])["image"][..., 0], boxes
        seed_transforms(self.with_boxes, seed)
        result = self.with_boxes(image=image[..., None], bboxes=np.asarray(boxes, dtype=np.float64).reshape(-1, 4))
        return result["image"][..., 0], np.asarray(result["bboxes"], dtype=np.float64).reshape(-1, 4)


def seed_transforms(compose: A.Compose, seed: int) -> None:
    """Let all transforms draw from one random state in turn. Compose.set_random_seed gives each its own state with one
    seed: flip, blur and noise would then always come together, and an enlarged image would always be dark."""
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
    strengths: dict[str, Any] = {}
    for entry in augment if isinstance(augment, list) else [augment]:
        named = entry if isinstance(entry, dict) else {str(entry): None}
        for name, strength in named.items():
            if name in strengths:
                raise bad_input("augment", f"{name} is in the list twice", "keep one of the two")
            if name not in TRANSFORMS:
                known = "; ".join(f"{known} ({transform.meaning})" for known, transform in TRANSFORMS.items())
                raise bad_input("augment", f"unknown transform '{name}'", f"known: {known}")
            strengths[name] = TRANSFORMS[name].default if strength is None else strength
    return strengths


def build_transforms(strengths: dict[str, Any]) -> list[A.BasicTransform]:
    """Build the albumentations transforms. Raises BadInput for a strength that is out of range."""
    transforms: list[A.BasicTransform] = []
    geometry = {name: check_number(name, strengths[name]) for name in WARP if name in strengths}
    if geometry:
        transforms.append(Warp(**geometry))
    if any(name in strengths for name in EXPOSURE):
        brightness, contrast = check_pair("brightness_contrast", strengths.get("brightness_contrast", [0.0, 0.0]))
        transforms.append(Exposure(check_number("gamma", strengths.get("gamma", 0.0)), brightness, contrast))
    for name, strength in strengths.items():
        make = TRANSFORMS[name].make
        if make is None:
            continue
        try:
            transforms.append(make(check_number(name, strength)))
        except ValueError as error:
            raise strength_error(name, strength) from error
    return transforms


def check_number(name: str, value: Any) -> float:
    """Return a strength that is a number within its limits. Raises BadInput otherwise."""
    least, most = TRANSFORMS[name].limits
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise strength_error(name, value)
    return value


def check_pair(name: str, value: Any) -> tuple[float, float]:
    """Return a strength of two numbers. Raises BadInput for anything else."""
    if not isinstance(value, list) or len(value) != 2:
        raise strength_error(name, value)
    return check_number(name, value[0]), check_number(name, value[1])


def strength_error(name: str, value: Any) -> BadInput:
    default, (least, most), _, meaning = TRANSFORMS[name]
    fix = f"give {meaning}, from {least} to {most}, such as {default}"
    return bad_input("augment", f"{name}: {value!r} is not a valid strength", fix)
