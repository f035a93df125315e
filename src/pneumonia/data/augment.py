"""Augmentation of one image with its boxes, by albumentations; seeded per sample by the caller."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks a server for its newest version otherwise

import albumentations as A
import cv2
import numpy as np

from pneumonia.errors import bad_input

MIN_VISIBILITY = 0.3  # a box of which less than this share stays inside the frame is no longer a finding


def light() -> list[A.BasicTransform]:
    """Flip, small shifts and scales, exposure: what a second radiograph of the same person could look like."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(translate_percent=(-0.06, 0.06), scale=(0.88, 1.14), rotate=(-5, 5), rotate_method="ellipse", p=0.9),
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.2, p=0.6),
        A.RandomGamma(gamma_limit=(80, 125), p=0.4),
    ]


def strong() -> list[A.BasicTransform]:
    """Second place's augmentation of 2018 (shift 32 px of 512, scale 2^N(0, 0.15), rotation sigma 6 degrees, shear
    sigma 4, gamma 2^N(0, 0.25), blur and noise at p 0.5, salt and pepper at p 0.1), the normal distributions as
    uniform ones of the same spread (half-width sigma * sqrt(3))."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(
            translate_percent=(-0.0625, 0.0625),
            scale=(0.835, 1.197),
            rotate=(-10.4, 10.4),
            shear=(-6.9, 6.9),
            rotate_method="ellipse",
            p=1.0,
        ),
        A.RandomGamma(gamma_limit=(74, 135), p=1.0),
        A.GaussianBlur(blur_limit=(3, 5), p=0.5),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.5),
        A.SaltAndPepper(amount=(0.001, 0.01), p=0.1),
    ]


STRENGTHS = {"none": list, "light": light, "strong": strong}


class Augmentation:
    """One strength's transforms. Not safe to share between threads: each has a random state of its own."""

    def __init__(self, strength: str):
        """Raises BadInput for an unknown strength."""
        if strength not in STRENGTHS:
            raise bad_input("augment", f"unknown strength '{strength}'", f"known: {', '.join(STRENGTHS)}")
        cv2.setNumThreads(1)  # loaders are the parallelism; more threads in each only get in their way
        boxes = A.BboxParams(format="coco", min_visibility=MIN_VISIBILITY, clip=True, filter_invalid_bboxes=True)
        transforms = STRENGTHS[strength]()
        self.compose = A.Compose(transforms, bbox_params=boxes) if transforms else None

    def __call__(self, image: np.ndarray, boxes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment one sample: a pure function of its arguments.

        Args:
            image: (size, size) uint8.
            boxes: (n, 4) x, y, width, height in pixels of `image`.
            seed: of this sample in this epoch.

        Returns:
            The new image and the boxes that are still in it, of the same shapes and units.
        """
        if self.compose is None:
            return image, boxes
        self.compose.set_random_seed(seed)
        result = self.compose(image=image[..., None], bboxes=np.asarray(boxes, dtype=np.float64).reshape(-1, 4))
        return result["image"][..., 0], np.asarray(result["bboxes"], dtype=np.float64).reshape(-1, 4)
