"""Training images that are made of several: mosaic and mixup, for localizers."""

import cv2
import numpy as np

from pneumonia.boxes import geometry


def mosaic(images: list[np.ndarray], boxes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return four images side by side at half their size, in the order of reading, and all their boxes.

    Bochkovskiy et al., YOLOv4, https://arxiv.org/abs/2004.10934, without its crop: findings stay whole.

    Args:
        images: four (size, size) uint8; size is even.
        boxes: of each, (n, 4) x, y, width, height in pixels.
    """
    half = len(images[0]) // 2
    small = [cv2.resize(image, (half, half), interpolation=cv2.INTER_AREA) for image in images]
    moves = [(0, 0, 0, 0), (half, 0, 0, 0), (0, half, 0, 0), (half, half, 0, 0)]
    parts = [geometry.scale(own, 0.5, 0.5) + move for own, move in zip(boxes, moves)]
    return np.block([small[:2], small[2:]]), np.concatenate(parts)


def mixup(images: list[np.ndarray], boxes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of images, and all their boxes.

    Zhang et al., mixup, https://arxiv.org/abs/1710.09412, with equal shares: a box is a finding or is not.

    Args:
        images: (size, size) uint8 each. boxes: of each, (n, 4).
    """
    mean = np.mean(np.stack(images), axis=0, dtype=np.float32)
    return np.rint(mean).astype(np.uint8), np.concatenate(boxes)
