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
    where it is no whole number of images, batches take turns, so that the share is right over the epoch. Each kind is
    repeated as often as needed, in a new order every time. With 1 there are positives only. The share
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
    positives_of_batch = counts_of_share(1.0 if positive.all() else share, np.full(steps, batch_size))
    negatives_of_batch = batch_size - positives_of_batch
    hard_of_batch = counts_of_share(sampling.hard_negatives, negatives_of_batch)
    easy_of_batch = negatives_of_batch - hard_of_batch
    negatives = np.flatnonzero(~positive)
    parts = [
        (positives_of_batch, endless(rng, np.flatnonzero(positive), positives_of_batch.sum())),
        (easy_of_batch, endless(rng, negatives, easy_of_batch.sum())),
        (hard_of_batch, draw_by_hardness(rng, negatives, hard_of_batch.sum(), hardness)),
    ]
    batches = [np.repeat(np.arange(steps), counts) for counts, _ in parts]
    order = np.argsort(np.concatenate(batches), kind="stable")
    return np.concatenate([rows for _, rows in parts])[order]


def counts_of_share(share: float, sizes: np.ndarray) -> np.ndarray:
    """Return how many images of each batch are of a kind: (steps,) int64, a share of the sum over the batches.

    Args:
        sizes: (steps,) images of each batch to take the share of.
    """
    # 6 decimals: 0.1 * 3 is slightly more than 0.3, and must not count as an image more
    ends = np.ceil(np.round(share * np.cumsum(sizes), 6)).astype(np.int64)
    return np.diff(ends, prepend=0)


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
