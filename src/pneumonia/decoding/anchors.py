"""RetinaNet's anchors: a grid on every level of the pyramid, in shapes that fit the training boxes."""

from typing import NamedTuple

import numpy as np

from pneumonia.boxes import geometry

STRIDES = (8, 16, 32, 64, 128)  # pixels per cell of P3 to P7
OCTAVE = tuple(2 ** (step / 3) for step in range(3))  # sizes between one level's anchor and the next level's
RATIOS = 3  # aspect ratios, height / width, of each size
PER_CELL = len(OCTAVE) * RATIOS
SCALES = tuple(
    1.5 * 2 ** (step / 4) for step in range(9)
)  # strides per side that `fit` tries, 1.5 to 6; Lin et al. have 4
MAX_BOXES = 500  # that `fit` looks at: more of them change nothing


class Shapes(NamedTuple):
    """scale: side of a level's smallest square anchor, in strides. ratios: height / width, ascending."""

    scale: float
    ratios: list[float]


def grid(image_size: int, shapes: Shapes) -> np.ndarray:
    """Return the corners of all anchors, (anchors, 4) float32 in pixels, in the order of the network's outputs: level,
    row, column, size, ratio. They may reach over the image's edge."""
    levels = []
    for stride in STRIDES:
        cells = -(-image_size // stride)
        y, x = np.meshgrid((np.arange(cells) + 0.5) * stride, (np.arange(cells) + 0.5) * stride, indexing="ij")
        sides = shapes.scale * stride * np.array(OCTAVE)[:, None]
        root = np.sqrt(np.array(shapes.ratios))[None]
        half = np.stack([sides / root, sides * root], axis=-1).reshape(-1, 2) / 2
        centres = np.stack([x.ravel(), y.ravel()], axis=-1)[:, None]
        levels.append(np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)


def fit(boxes: list[np.ndarray], image_size: int) -> tuple[Shapes, float]:
    """Fit the anchors to boxes: ratios at the middle of each third of them, and the scale with the highest mean IoU.

    Args:
        boxes: of each image (n, 4) x, y, width, height in pixels of the model's input.

    Returns:
        The shapes; and the mean over the boxes of the IoU with the nearest anchor. Without a box: Lin et al.'s shapes
        (Focal Loss, section 4, https://arxiv.org/abs/1708.02002), and 0.
    """
    whole = np.concatenate([np.reshape(each, (-1, 4)) for each in boxes]) if len(boxes) else np.empty((0, 4))
    if not len(whole):
        return Shapes(4.0, [0.5, 1.0, 2.0]), 0.0
    middles = (np.arange(RATIOS) + 0.5) / RATIOS
    ratios = np.exp(np.quantile(np.log(whole[:, 3] / whole[:, 2]), middles)).round(2).tolist()
    some = whole[np.linspace(0, len(whole) - 1, min(len(whole), MAX_BOXES)).astype(int)]
    tried = []
    for scale in SCALES:
        shapes = Shapes(round(scale, 2), ratios)
        anchors = geometry.to_xywh(grid(image_size, shapes).astype(np.float64))
        tried.append((float(geometry.iou_matrix(some, anchors).max(axis=1).mean()), shapes))
    mean_iou, shapes = max(tried, key=lambda each: each[0])
    return shapes, mean_iou
