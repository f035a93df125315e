"""Figures of the report pages as data URIs, so that a page is one file."""

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GRAY = "#1f6feb", "#d2691e", "#8b949e"  # lines: measured values, comparison, the rest
TRUE_COLOUR, PREDICTED_COLOUR = (46, 160, 67), (255, 120, 40)  # RGB: boxes by radiologists, by models


def png(figure: Figure) -> str:
    """Encode a figure as a PNG data URI and close it."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def learning_curves(histories: dict[str, list[dict]], metrics: Sequence[str] = ("loss",)) -> str:
    """Plot the metrics of each history over the epochs, for training and, if there is one, the inner split.

    Args:
        histories: {title: [metrics.jsonl lines]}.
    """
    panels = [(title, name) for title, history in histories.items() for name in metrics if name in history[-1]]
    figure, axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 3.3), squeeze=False)
    for axis, (title, name) in zip(axes[0], panels):
        history = histories[title]
        epochs = [line["epoch"] for line in history]
        for key, label, colour in ((name, "training", BLUE), (f"inner_{name}", "inner split", ORANGE)):
            if key in history[-1]:
                axis.plot(epochs, [line[key] for line in history], label=label, color=colour, marker=".")
        axis.set(title=title, xlabel="epoch", ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
    return png(figure)


def picture(
    image: np.ndarray, true: np.ndarray, predicted: np.ndarray, scores: Sequence[float], side: int = 320
) -> str:
    """Draw a radiograph with its boxes (see `draw_boxes`); returns a JPEG data URI."""
    return jpeg(draw_boxes(image, true, predicted, scores, side))


def jpeg(pixels: np.ndarray) -> str:
    """Encode (h, w, 3) uint8 RGB as a JPEG data URI."""
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


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
