"""Calibrations: make the confidences of different models comparable, before they are fused or multiplied.

Detectors use very different scales: one model's 0.02 may be as reliable as another's 0.7. A calibration maps a model's
confidence to an estimate of how often it is correct, fitted on boxes (or images) that the model was not trained on. All
maps are increasing: the order of a single model's boxes stays the same, only its best threshold moves.
"""

from dataclasses import dataclass

import numpy as np

from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.iou_map import Truth, box_credits
from pneumonia.schema.setting import setting

KINDS = ("none", "logistic", "rank")
EPSILON = 1e-6  # confidences are kept this far from 0 and 1 where a logit is taken
MIN_HITS = 5.0  # matched boxes needed to fit anything: with fewer, confidences stay as they are
SLOPE_PRIOR = 1.0  # strength of the prior on the slope, in units of one informative box
RANK_KNOTS = 65
MIN_CONFIDENCE = 1e-4  # lower confidences are raised to this where a gate's exponent is fitted
MAX_EXPONENT = 2.0  # of a gate


@dataclass
class Calibration:
    """An increasing map of confidences.

    kind: none (unchanged), logistic (sigmoid(slope * logit(confidence) + intercept)) or rank (linear interpolation
    between knots).
    """

    kind: str = setting("none", "of the map", choices=KINDS)
    slope: float = setting(1.0, "logistic: above 0, so that the order is kept", above=0)
    intercept: float = setting(0.0, "logistic")
    knots_in: list[float] = setting([], "rank: confidences, increasing", low=0, high=1)
    knots_out: list[float] = setting([], "rank: their calibrated values", low=0, high=1)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Map (n,) confidences to (n,) calibrated ones in [0, 1]."""
        if self.kind == "logistic":
            return sigmoid(self.slope * logit(scores) + self.intercept)
        if self.kind == "rank":
            return np.interp(scores, self.knots_in, self.knots_out)
        return scores


def logit(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, EPSILON, 1 - EPSILON)
    return np.log(clipped) - np.log1p(-clipped)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0)))


def fit_boxes(kind: str, detections: Detections, truth: Truth) -> Calibration:
    """Fit a detector's calibration.

    logistic: to the share of IoU thresholds at which a box matches a true box; no change if too few boxes match.
    rank: to the box's rank among the model's boxes.
    """
    if kind == "rank":
        return fit_rank(detections.scores, len(detections))
    if kind == "logistic":
        return fit_logistic(detections.scores, box_credits(truth, detections))
    return Calibration()


def fit_images(kind: str, probability: np.ndarray, positive: np.ndarray) -> Calibration:
    """Fit a classifier's calibration: image probabilities (n,) to `positive` (n,) bool."""
    if kind == "none" or positive.all():
        return Calibration()
    return fit_logistic(probability, positive.astype(np.float64))


def fit_logistic(scores: np.ndarray, targets: np.ndarray) -> Calibration:
    """Fit Platt's two parameters by Newton steps. targets: (n,) in [0, 1]. A prior pulls the slope towards 1; it stays
    positive."""
    if targets.sum() < MIN_HITS:
        return Calibration()
    x = logit(scores)
    slope, intercept = 1.0, 0.0
    for _ in range(50):
        p = sigmoid(slope * x + intercept)
        weight = np.maximum(p * (1 - p), 1e-9)
        error = p - targets
        gradient = np.array([(error * x).sum() + SLOPE_PRIOR * (slope - 1.0), error.sum() + 1e-3 * intercept])
        cross = (weight * x).sum()
        hessian = np.array([[(weight * x * x).sum() + SLOPE_PRIOR, cross], [cross, weight.sum() + 1e-3]])
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))  # damped: a first step may overshoot
        slope, intercept = max(slope - step[0], 0.05), intercept - step[1]
        if np.abs(step).max() < 1e-9:
            break
    return Calibration("logistic", float(slope), float(intercept))


def fit_exponent(scores: np.ndarray, probability: np.ndarray, targets: np.ndarray) -> float:
    """Fit a gate's exponent: how much an image's probability adds to what a box's own confidence says.

    Logistic regression of `targets` on the logarithms of both; the exponent is the ratio of their coefficients.
    Multiplying the two (exponent 1) would assume that they are independent, but both models saw the same image: where
    the confidence is the better predictor, the exponent is near 0. 1 if too few boxes match.

    Args:
        scores, probability, targets: (n,) each box's calibrated confidence, its image's calibrated probability, and the
            share of IoU thresholds at which it matches a true box.
    """
    from sklearn.linear_model import LogisticRegression

    if min(targets.sum(), (1 - targets).sum()) < MIN_HITS:
        return 1.0
    inputs = np.log(np.maximum(np.stack([scores, probability], axis=1), MIN_CONFIDENCE))
    # scikit-learn takes classes, not fractions: every box is in both classes, weighted by its target
    classes = np.repeat([1, 0], len(targets))
    model = LogisticRegression().fit(np.tile(inputs, (2, 1)), classes, np.concatenate([targets, 1 - targets]))
    score_weight, probability_weight = model.coef_[0]
    return float(np.clip(probability_weight / max(score_weight, EPSILON), 0.0, MAX_EXPONENT))


def fit_rank(scores: np.ndarray, images: int) -> Calibration:
    """Fit the map from a confidence to 1 - (number of more confident boxes) / (3 * images), at least 0.

    The rank is divided by the number of images, not of boxes: hundreds of low boxes give a model no advantage.
    """
    if not len(scores):
        return Calibration()
    ordered = np.sort(scores)[::-1]
    ranks = np.unique(np.round(np.linspace(0.0, 1.0, RANK_KNOTS) ** 2 * (len(ordered) - 1)).astype(int))
    out = np.maximum(1.0 - (ranks + 0.5) / (3.0 * images), 0.001 * (1.0 - ranks / len(ordered)))
    values, first = np.unique(ordered[ranks], return_index=True)
    knots_in, knots_out = [0.0, *values.tolist(), 1.0], [0.0, *out[first].tolist(), 1.0]
    return Calibration("rank", knots_in=knots_in, knots_out=knots_out)
