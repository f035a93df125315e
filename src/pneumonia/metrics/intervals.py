"""Confidence intervals by bootstrap over people.

Images of one person are not independent, so people are drawn, each with all their images. A score is a ratio of sums
(points / images that count), so each draw is one weighted sum, computed for many draws at once. Bootstrapping over
images would give intervals that are too narrow, by a factor of 2.05 for prevalence on the RSNA tables.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
DRAWS_AT_ONCE = 100  # bounds the memory: draws x people numbers at a time
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A score (value) and its confidence interval (low, high). NaN if no image counts."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def people_of(ids: Sequence[str], groups: Mapping[str, Hashable] | None) -> np.ndarray:
    """Number each image's person, (n,) int64; an image that is not in the mapping counts as a separate person."""
    numbers: dict[Hashable, int] = {}
    groups = groups or {}
    keys = (("person", groups[name]) if name in groups else ("image", name) for name in ids)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def person_draws(people: int, draws: int, seed: int):
    """Yield (k, people) arrays, k <= DRAWS_AT_ONCE: how often each person is in each bootstrap draw."""
    generator = np.random.default_rng(seed)
    for start in range(0, draws, DRAWS_AT_ONCE):
        count = min(DRAWS_AT_ONCE, draws - start)
        numbers = generator.integers(people, size=(count, people)) + np.arange(count)[:, None] * people
        yield np.bincount(numbers.ravel(), minlength=count * people).reshape(count, people).astype(np.float64)


def bootstrap_means(image_scores: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return the mean score of every bootstrap draw of people.

    Args:
        image_scores: (n,) or (n, recipes); NaN where an image does not count.
        people: (n,) person of each image, numbered from 0.

    Returns:
        (draws,) or (draws, recipes); NaN for a draw in which no image counts. All recipes have the same draws.
    """
    scores = image_scores if image_scores.ndim == 2 else image_scores[:, None]
    size = int(people.max()) + 1 if len(people) else 0
    counted = ~np.isnan(scores)
    points, images = np.zeros((size, scores.shape[1])), np.zeros((size, scores.shape[1]))
    np.add.at(points, people, np.where(counted, scores, 0.0))
    np.add.at(images, people, counted)
    means = np.full((draws, scores.shape[1]), np.nan)
    if size:
        start = 0
        for weight in person_draws(size, draws, seed):
            total, count = weight @ points, weight @ images
            means[start : start + len(weight)] = np.divide(
                total, count, out=np.full(total.shape, np.nan), where=count > 0
            )
            start += len(weight)
    return means.reshape(draws, *image_scores.shape[1:])


def mean_interval(image_scores: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the mean over the images that count, with its percentile interval over people."""
    counted = ~np.isnan(image_scores)
    value = float(image_scores[counted].mean()) if counted.any() else float("nan")
    return percentile_interval(value, bootstrap_means(image_scores, people, draws, seed))


def difference_interval(
    first: np.ndarray, second: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return mean of `first` minus mean of `second`, paired: every draw takes the same people for both.

    Args:
        first, second: (n,) image scores of two recipes on the same images; NaN where an image does not count.
    """
    means = bootstrap_means(np.column_stack([first, second]), people, draws, seed)
    counted = [scores[~np.isnan(scores)] for scores in (first, second)]
    value = float(counted[0].mean() - counted[1].mean()) if all(map(len, counted)) else float("nan")
    return percentile_interval(value, means[:, 0] - means[:, 1])


def percentile_interval(value: float, draws: np.ndarray) -> Interval:
    """Return `value` with the percentiles of its bootstrap draws; NaN draws are ignored."""
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(draws, [50 - 50 * LEVEL, 50 + 50 * LEVEL])
    return Interval(value, float(low), float(high))
