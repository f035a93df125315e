"""Which images an epoch trains on, and in which order: a pure function of (seed, epoch)."""

import numpy as np

from pneumonia.schema import Sampling
from pneumonia.system.errors import bad_input


def epoch_order(
    positive: np.ndarray,
    sampling: Sampling,
    batch_size: int,
    seed: int,
    epoch: int,
    hardness: np.ndarray | None = None,
) -> np.ndarray:
    """Return rows in the order in which an epoch trains on them, a whole number of batches.

    With `sampling.positives` between 0 and 1, this share of every batch is positive images and the rest negative ones;
    each kind is repeated as often as needed, in a new order every time. With 1 there are positives only. The share
    `sampling.hard_negatives` of the negatives is drawn with probabilities proportional to `hardness`. The first
    `sampling.positive_epochs` epochs have positives only.

    Args:
        positive: (images,) bool.
        hardness: (images,) an earlier model's confidence in a finding, for hard negatives.

    Returns:
        (steps * batch_size,) int64 rows.

    Raises:
        BadInput: hard negatives without `hardness`, or without both positives and negatives in a batch.
    """
    if sampling.hard_negatives > 0 and (hardness is None or not 0 < sampling.positives < 1):
        fix = "set sampling.positives between 0 and 1, and sampling.hard_from to a trained experiment"
        raise bad_input("sampling.hard_negatives", "needs batches of positives and negatives", fix)
    rng = np.random.default_rng([seed, epoch])
    images = sampling.images or len(positive)
    steps = max(1, round(images / batch_size))
    share = 1.0 if epoch < sampling.positive_epochs else sampling.positives
    if share <= 0 or not positive.any():
        return endless(rng, np.arange(len(positive)), steps * batch_size)
    positives_per_batch = batch_size if positive.all() else round(share * batch_size)
    positives_per_batch = min(max(positives_per_batch, 1), batch_size)
    positives = endless(rng, np.flatnonzero(positive), steps * positives_per_batch).reshape(steps, -1)
    negatives = np.flatnonzero(~positive)
    hard_per_batch = round(sampling.hard_negatives * (batch_size - positives_per_batch))
    easy = endless(rng, negatives, steps * (batch_size - positives_per_batch - hard_per_batch)).reshape(steps, -1)
    hard = draw_by_hardness(rng, negatives, steps * hard_per_batch, hardness).reshape(steps, -1)
    return np.concatenate([positives, easy, hard], axis=1).ravel()


def draw_by_hardness(rng: np.random.Generator, rows: np.ndarray, count: int, hardness: np.ndarray | None) -> np.ndarray:
    """Draw `count` rows with probabilities proportional to their hardness; uniform if all are 0."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    weights = hardness[rows]
    return rng.choice(rows, count, p=weights / weights.sum() if weights.sum() > 0 else None)


def endless(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """Return `count` rows: one permutation of all rows after another."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]
