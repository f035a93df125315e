"""A monotone map of confidences, fitted to two distributions, few enough numbers to stand in a recipe."""

from dataclasses import dataclass, field

import numpy as np

KNOTS = 32  # more follow the noise of the images that a map is fitted on
DECIMALS = 6


@dataclass
class ScoreMap:
    """Straight lines between knots, increasing; without knots every confidence stays as it is."""

    knots_in: list[float] = field(default_factory=list)
    knots_out: list[float] = field(default_factory=list)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(n,) confidences to (n,), each by itself: the result for one does not depend on the others."""
        return np.interp(scores, self.knots_in, self.knots_out) if self.knots_in else scores

    @property
    def is_monotone(self) -> bool:
        """Whether it takes confidences in ascending order to confidences in ascending order."""
        ends = (self.knots_in, self.knots_out)
        return len(self.knots_in) == len(self.knots_out) and all(
            (np.diff([0.0, *knots, 1.0]) >= 0).all() for knots in ends
        )


def fit_score_map(merged: np.ndarray, single: np.ndarray, models: int) -> ScoreMap:
    """The map that gives merged confidences the distribution of a single model's.

    Both are sorted and cut into groups of the same ranks, `models` times as many of `single` in each, small groups of
    the highest confidences first; a group's two means are a knot. Beyond the last knots straight lines lead to 0 and 1.
    So above every confidence there are about as many merged values as a single model has on average.

    Args:
        merged: (n,) confidences of the models' merged predictions.
        single: (m,) confidences of the models' own predictions of the same images, all models together.
    """
    ranks = min(len(merged), len(single) // models)
    bounds = np.unique(np.round(np.linspace(0.0, 1.0, KNOTS + 1) ** 2 * ranks).astype(int))
    if len(bounds) < 2:
        return ScoreMap()
    knots_in, knots_out = (
        np.round(np.add.reduceat(ordered[: bounds[-1] * each], bounds[:-1] * each) / (np.diff(bounds) * each), DECIMALS)
        for ordered, each in ((np.sort(merged)[::-1], 1), (np.sort(single)[::-1], models))
    )
    inside = (knots_in > 0) & (knots_in < 1)
    values, group = np.unique(knots_in[inside], return_inverse=True)  # equal confidences: their mean
    means = np.bincount(group, knots_out[inside]) / np.bincount(group)
    return ScoreMap([0.0, *values.tolist(), 1.0], [0.0, *np.round(means, DECIMALS).tolist(), 1.0])
