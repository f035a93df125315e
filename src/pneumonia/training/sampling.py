"""Which images an epoch shows, and in which order: a pure function of (seed, epoch)."""

import numpy as np

from pneumonia.schema import Sampling


def epoch_order(positive: np.ndarray, sampling: Sampling, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Rows in the order an epoch shows them, a whole number of batches.

    With `sampling.positives` between 0 and 1 that share of every batch is positive images, the rest negative ones;
    each kind is gone through as often as needed, in a new order every time. With 1 there are positives only.

    Args:
        positive: (images,) bool.

    Returns:
        (steps * batch_size,) int64 rows.
    """
    rng = np.random.default_rng([seed, epoch])
    images = sampling.images or len(positive)
    steps = max(1, round(images / batch_size))
    if sampling.positives <= 0 or not positive.any():
        return endless(rng, np.arange(len(positive)), steps * batch_size)
    of_batch = batch_size if positive.all() else round(sampling.positives * batch_size)
    of_batch = min(max(of_batch, 1), batch_size)
    yes = endless(rng, np.flatnonzero(positive), steps * of_batch).reshape(steps, -1)
    no = endless(rng, np.flatnonzero(~positive), steps * (batch_size - of_batch)).reshape(steps, -1)
    return np.concatenate([yes, no], axis=1).reshape(-1)


def endless(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """`count` rows: permutation after permutation of them all."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]
