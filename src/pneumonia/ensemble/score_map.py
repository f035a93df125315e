"""A monotone map of confidences, fitted to two distributions, small enough to be saved in a recipe."""

from dataclasses import dataclass, field

import numpy as np

KNOTS = 32  # more would fit the noise of the images that a map is fitted on
DECIMALS = 6


@dataclass
class ScoreMap:
    """An increasing map: linear interpolation between knots; without knots confidences are unchanged."""

    knots_in: list[float] = field(default_factory=list)
    knots_out: list[float] = field(default_factory=list)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Map (n,) confidences to (n,); each result depends on its own confidence alone."""
        return np.interp(scores, self.knots_in, self.knots_out) if self.knots_in else scores

    @property
    def is_monotone(self) -> bool:
        """Whether knots_in and knots_out are equally many and ascend within 0..1."""
        sides = (self.knots_in, self.knots_out)
        return len(self.knots_in) == len(self.knots_out) and all(
            (np.diff([0.0, *knots, 1.0]) >= 0).all() for knots in sides
        )


def fit_score_map(merged: np.ndarray, single: np.ndarray, models: int) -> ScoreMap:
    """Fit the map that gives merged confidences the distribution of a single model's.

    Both are sorted, highest first, and cut into groups of the same ranks, with `models` times as many of `single` in
    each; groups of the highest confidences are the smallest. The two means of a group are a knot; the ends of the map
    are 0 and 1. So above every confidence there are about as many merged values as a single model has on average.

    Args:
        merged: (n,) confidences of the models' merged predictions.
        single: (m,) confidences of the models' own predictions of the same images, all models together.
    """
    ranks = min(len(merged), len(single) // models)
    bounds = np.unique(np.round(np.linspace(0.0, 1.0, KNOTS + 1) ** 2 * ranks).astype(int))
    if len(bounds) < 2:
        return ScoreMap()
    knots_in, knots_out = (
        np.round(np.add.reduceat(ordered[: bounds[-1] * k], bounds[:-1] * k) / (np.diff(bounds) * k), DECIMALS)
        for ordered, k in ((np.sort(merged)[::-1], 1), (np.sort(single)[::-1], models))
    )
    inside = (knots_in > 0) & (knots_in < 1)
    values, group = np.unique(knots_in[inside], return_inverse=True)  # equal confidences: their mean
    means = np.bincount(group, knots_out[inside]) / np.bincount(group)
    return ScoreMap([0.0, *values.tolist(), 1.0], [0.0, *np.round(means, DECIMALS).tolist(), 1.0])
