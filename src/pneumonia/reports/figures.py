"""Figures of the report pages as data URIs, so that a page is one file."""

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pneumonia.boxes.drawing import draw_boxes

BLUE, ORANGE, GRAY = "#1f6feb", "#d2691e", "#8b949e"  # lines: measured values, comparison, the rest


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
