"""Box geometry and the two box formats.

- `xywh`: x, y, width, height; top-left corner, pixels of the original image; used in every table and file.
- `corners`: x1, y1, x2, y2 in the same pixels.

Areas are continuous: width times height, without any +1.
"""

import numpy as np


def to_corners(xywh: np.ndarray) -> np.ndarray:
    """(..., 4) x, y, width, height to (..., 4) x1, y1, x2, y2."""
    xywh = np.asarray(xywh, dtype=np.float64)
    return np.concatenate([xywh[..., :2], xywh[..., :2] + xywh[..., 2:]], axis=-1)


def to_xywh(corners: np.ndarray) -> np.ndarray:
    """(..., 4) x1, y1, x2, y2 to (..., 4) x, y, width, height."""
    corners = np.asarray(corners, dtype=np.float64)
    return np.concatenate([corners[..., :2], corners[..., 2:] - corners[..., :2]], axis=-1)


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair.

    Args:
        a: (n, 4) x, y, width, height.
        b: (m, 4) likewise.

    Returns:
        (n, m) float64; 0 where both areas are 0.
    """
    a, b = to_corners(np.reshape(a, (-1, 4))), to_corners(np.reshape(b, (-1, 4)))
    overlap = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    intersection = np.prod(np.clip(overlap, 0.0, None), axis=-1)
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=-1), np.prod(b[:, 2:] - b[:, :2], axis=-1)
    union = area_a[:, None] + area_b[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def shrink(xywh: np.ndarray, width_factor: float, height_factor: float) -> np.ndarray:
    """Multiply width and height of boxes by the factors, with the same centre. (n, 4) to (n, 4)."""
    xywh = np.asarray(xywh, dtype=np.float64)
    size = xywh[..., 2:] * (width_factor, height_factor)
    return np.concatenate([xywh[..., :2] + (xywh[..., 2:] - size) / 2, size], axis=-1)


def clip(xywh: np.ndarray, width: float, height: float) -> np.ndarray:
    """Clip boxes to `width` x `height` pixels; a box completely outside gets zero width or height."""
    corners = np.clip(to_corners(xywh), 0.0, (width, height, width, height))
    return to_xywh(corners)


def scale(xywh: np.ndarray, factor_x: float, factor_y: float) -> np.ndarray:
    """Scale boxes like an image that is resized by the two factors."""
    return np.asarray(xywh, dtype=np.float64) * (factor_x, factor_y, factor_x, factor_y)


def reach_beyond(boxes: np.ndarray, width: float, height: float) -> tuple[float, float] | None:
    """How far right and down (n, 4) boxes reach, where that is a pixel or more beyond an image; else None."""
    right, bottom = np.max(boxes[:, :2] + boxes[:, 2:], axis=0, initial=0)
    return (float(right), float(bottom)) if right > width + 1 or bottom > height + 1 else None
