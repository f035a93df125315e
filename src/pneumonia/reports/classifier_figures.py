"""Figures of a classifier's evaluation, as data URIs."""

import cv2
import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import precision_recall_curve, roc_curve

from pneumonia.metrics.calibration import reliability
from pneumonia.reports.figures import BLUE, GRAY, png


def curves(labels: np.ndarray, scores: np.ndarray, auc: float, average_precision: float) -> str:
    """Plot ROC, precision-recall and calibration curves. labels: (n,) 0 or 1; scores: (n,) probabilities."""
    figure, (roc, recall, calibration) = plt.subplots(1, 3, figsize=(13.2, 4.1))
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, scores)
    roc.plot(false_positive_rate, true_positive_rate, color=BLUE, label=f"AUC {auc:.3f}")
    roc.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1)
    roc.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate (recall)")
    precision, sensitivity, _ = precision_recall_curve(labels, scores)
    label = f"average precision {average_precision:.3f}"
    recall.plot(sensitivity, precision, color=BLUE, label=label, drawstyle="steps-post")
    recall.axhline(np.mean(labels), color=GRAY, linestyle="--", linewidth=1, label="share of positives")
    recall.set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.03))
    bins = reliability(labels, scores)
    calibration.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1)
    calibration.plot(bins.predicted, bins.observed, color=BLUE, marker="o", label=f"{len(bins.images)} equal bins")
    calibration.set(title="Calibration", xlabel="predicted probability", ylabel="share that is positive")
    calibration.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    for axis in (roc, recall, calibration):
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, loc="lower right" if axis is not recall else "best")
    return png(figure)


def confusion(matrix: list[list[int]]) -> str:
    """Plot a 2 x 2 confusion matrix: rows are true, columns predicted."""
    figure, axis = plt.subplots(figsize=(3.4, 3.0))
    values = np.array(matrix)
    axis.imshow(values, cmap="Blues", vmin=0)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > values.max() / 2 else "black"
        axis.text(column, row, str(value), ha="center", va="center", color=colour, fontsize=13)
    names = ["normal", "pneumonia"]
    axis.set(xticks=[0, 1], xticklabels=names, yticks=[0, 1], yticklabels=names, xlabel="predicted", ylabel="true")
    return png(figure)


def overlay_heat_map(image: np.ndarray, heat: np.ndarray, side: int = 320) -> np.ndarray:
    """Draw a heat map on a radiograph, (side, side, 3) RGB. image: (size, size) uint8; heat: (h, w) 0 to 1."""
    gray = cv2.cvtColor(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    heat = np.clip(cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)[..., None]
    colour = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.rint(gray * (1 - 0.55 * heat) + colour * 0.55 * heat).astype(np.uint8)
