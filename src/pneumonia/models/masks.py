"""Boxes as masks to train on, and masks back to boxes."""

import numpy as np
from skimage.measure import label, regionprops

from pneumonia.models.family import ImageBoxes


def filled(boxes: np.ndarray, image_size: int, mask_size: int) -> np.ndarray:
    """A (mask_size, mask_size) float32 mask of an image's boxes: each pixel's share that boxes cover.

    boxes: (n, 4) x, y, width, height in pixels of the `image_size` square.
    """
    mask = np.zeros((mask_size, mask_size), np.float32)
    edges = np.arange(mask_size)
    for x, y, width, height in np.asarray(boxes, dtype=np.float64) * (mask_size / image_size):
        columns = np.clip(np.minimum(edges + 1, x + width) - np.maximum(edges, x), 0, 1)
        rows = np.clip(np.minimum(edges + 1, y + height) - np.maximum(edges, y), 0, 1)
        np.maximum(mask, np.outer(rows, columns), out=mask)
    return mask


def components(probabilities: np.ndarray, image_size: int, threshold: float, min_area: float) -> ImageBoxes:
    """Boxes of the connected components above `threshold`, confidence being the mean probability inside.

    Where nothing reaches the threshold, half of the highest probability takes its place: an image always offers its
    best candidates with their low confidence, and what is too low is left to the threshold that is tuned later.

    Args:
        probabilities: (mask_size, mask_size).
        min_area: smallest component, as a share of the image.
    """
    size = probabilities.shape[0]
    level = min(threshold, probabilities.max() / 2)
    found = regionprops(label(probabilities > level), intensity_image=probabilities)
    found = [region for region in found if region.area >= min_area * size * size]
    corners = np.array([region.bbox for region in found], dtype=np.float64).reshape(-1, 4)
    top, left, bottom, right = corners.T * (image_size / size)
    boxes = np.stack([left, top, right - left, bottom - top], axis=-1)
    return ImageBoxes(boxes, np.array([region.intensity_mean for region in found], dtype=np.float64))
