"""Draw boxes on radiographs."""

from collections.abc import Sequence

import cv2
import numpy as np

TRUE_COLOUR, PREDICTED_COLOUR = (46, 160, 67), (255, 120, 40)  # RGB: boxes by radiologists, by models


def draw_boxes(
    image: np.ndarray, true: np.ndarray, predicted: np.ndarray, scores: Sequence[float], side: int
) -> np.ndarray:
    """Draw true boxes (green) and predicted boxes (orange, with confidence) on a radiograph; (side, side, 3) RGB.

    Args:
        image: (size, size) uint8.
        true, predicted: (n, 4) x, y, width, height in pixels of `image`.
        scores: confidence of each predicted box.
    """
    factor = side / image.shape[1]
    canvas = cv2.cvtColor(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    for box in np.reshape(true, (-1, 4)):
        draw_box(canvas, box * factor, TRUE_COLOUR)
    for box, score in zip(np.reshape(predicted, (-1, 4)), scores):
        left, top = draw_box(canvas, box * factor, PREDICTED_COLOUR)
        font_scale = max(0.42, side / 1000)  # 13 pixels high in a thumbnail
        height, thickness = round(31 * font_scale), max(1, round(2 * font_scale))
        origin = (left + 3, top + height if top + height < side else top - 3)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(canvas, f"{score:.2f}", origin, font, font_scale, PREDICTED_COLOUR, thickness, cv2.LINE_AA)
    return canvas


def draw_box(canvas: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Draw a box, x, y, width, height, on the canvas; returns its upper left corner."""
    x, y, width, height = np.rint(box).astype(int).tolist()
    cv2.rectangle(canvas, (x, y), (x + width, y + height), colour, 2)
    return x, y
