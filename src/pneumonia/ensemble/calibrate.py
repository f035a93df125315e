"""Making the confidences of different models comparable, before they are fused or multiplied.

Detectors differ wildly in scale: one's 0.02 is as good as another's 0.7. A calibration maps a model's confidence to an
estimate of what it is worth, fitted on boxes (or images) that the model was not trained on. All maps are increasing,
so that they change nothing about a model on its own but the threshold.
"""

from dataclasses import dataclass

import numpy as np

from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.iou_map import Truth, box_credits
from pneumonia.schema.setting import setting

KINDS = ("none", "logistic", "rank")
SMALLEST = 1e-6  # confidences are kept this far from 0 and 1 where a logit is taken
FEWEST_HITS = 5.0  # matched boxes needed to move a calibration away from "as it is"
PULL = 1.0  # strength of the prior on the slope, in units of one informative box
RANK_KNOTS = 65
FAINTEST = 1e-4  # confidences below are as good as this one where a gate's exponent is fitted
STEEPEST = 2.0  # exponent of a gate


@dataclass
class Calibration:
    """kind: none, logistic (sigmoid(slope * logit(confidence) + intercept)) or rank (straight lines between knots)."""

    kind: str = setting("none", "of the map", choices=KINDS)
    slope: float = setting(1.0, "logistic: above 0, or the order would change", above=0)
    intercept: float = setting(0.0, "logistic")
    knots_in: list[float] = setting([], "rank: confidences, increasing", low=0, high=1)
    knots_out: list[float] = setting([], "rank: what they become", low=0, high=1)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(n,) confidences to (n,), increasing, in [0, 1]."""
        if self.kind == "logistic":
            return sigmoid(self.slope * logit(scores) + self.intercept)
        if self.kind == "rank":
            return np.interp(scores, self.knots_in, self.knots_out)
        return scores


def logit(probability: np.ndarray) -> np.ndarray:
    inside = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.log(inside) - np.log1p(-inside)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))


def fit_boxes(kind: str, detections: Detections, truth: Truth) -> Calibration:
    """Calibrate a detector: logistic to the share of IoU thresholds at which a box matches a truth; rank to its place
    among the model's boxes. Too few matched boxes for a fit: as it is."""
    if kind == "rank":
        return fit_rank(detections.scores, len(detections))
    if kind == "logistic":
        return fit_logistic(detections.scores, box_credits(truth, detections))
    return Calibration()


def fit_images(kind: str, probability: np.ndarray, positive: np.ndarray) -> Calibration:
    """Calibrate a classifier's image probabilities (n,) to `positive` (n,) bool."""
    if kind == "none" or positive.all():
        return Calibration()
    return fit_logistic(probability, positive.astype(np.float64))


def fit_logistic(scores: np.ndarray, worth: np.ndarray) -> Calibration:
    """Platt's two parameters by Newton steps; worth (n,) in [0, 1]. The slope is drawn towards 1 and stays positive."""
    if worth.sum() < FEWEST_HITS:
        return Calibration()
    x = logit(scores)
    slope, intercept = 1.0, 0.0
    for _ in range(50):
        p = sigmoid(slope * x + intercept)
        weight = np.maximum(p * (1 - p), 1e-9)
        gradient = np.array([((p - worth) * x).sum() + PULL * (slope - 1.0), (p - worth).sum() + 1e-3 * intercept])
        cross = (weight * x).sum()
        hessian = np.array([[(weight * x * x).sum() + PULL, cross], [cross, weight.sum() + 1e-3]])
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))  # damped: a first step may overshoot
        slope, intercept = max(slope - step[0], 0.05), intercept - step[1]
        if np.abs(step).max() < 1e-9:
            break
    return Calibration("logistic", float(slope), float(intercept))


def fit_exponent(scores: np.ndarray, probability: np.ndarray, worth: np.ndarray) -> float:
    """How much an image's probability says of a box beside the box's own confidence, as an exponent of a gate.

    A logistic regression of `worth` on the logarithms of both; the exponent is their coefficients' ratio. Multiplying
    the two (exponent 1) takes them for independent, but both were looking at the same image: where the detector is the
    better judge the exponent comes out near 0. Too few matched boxes for a fit: 1.

    Args:
        scores, probability, worth: (n,) each box's calibrated confidence, its image's calibrated probability, and the
            share of IoU thresholds at which it matches a truth.
    """
    from sklearn.linear_model import LogisticRegression

    if min(worth.sum(), (1 - worth).sum()) < FEWEST_HITS:
        return 1.0
    inputs = np.log(np.maximum(np.stack([scores, probability], axis=1), FAINTEST))
    hit = np.repeat([1, 0], len(worth))  # every box is both, by its worth: scikit-learn takes whole classes only
    fitted = LogisticRegression().fit(np.tile(inputs, (2, 1)), hit, np.concatenate([worth, 1 - worth]))
    of_score, of_probability = fitted.coef_[0]
    return float(np.clip(of_probability / max(of_score, SMALLEST), 0.0, STEEPEST))


def fit_rank(scores: np.ndarray, images: int) -> Calibration:
    """Confidence to 1 - (more confident boxes) / (boxes that are worth looking at: three an image), floored at 0.

    By the number of boxes per image, not by the share of a model's boxes: a model that lists hundreds of faint boxes
    is not better for it.
    """
    if not len(scores):
        return Calibration()
    ordered = np.sort(scores)[::-1]
    places = np.unique(np.round(np.linspace(0.0, 1.0, RANK_KNOTS) ** 2 * (len(ordered) - 1)).astype(int))
    out = np.maximum(1.0 - (places + 0.5) / (3.0 * images), 0.001 * (1.0 - places / len(ordered)))
    values, first = np.unique(ordered[places], return_index=True)
    knots_in, knots_out = [0.0, *values.tolist(), 1.0], [0.0, *out[first].tolist(), 1.0]
    return Calibration("rank", knots_in=knots_in, knots_out=knots_out)
