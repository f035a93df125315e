"""Decisions on the inner split: the plateau's learning rate, when to stop, which epoch was best.

Each is a pure function of the history (metrics.jsonl), so that a resumed training decides like an uninterrupted one
without any other state. The inner split is people of the training folds, never the held-out fold.
"""

from pneumonia import schema

MIN_DELTA = 1e-4  # smaller improvements of the loss do not count, as in Keras's callbacks


def inner_losses(history: list[dict]) -> list[float]:
    return [line["inner_loss"] for line in history]


def best_epoch(history: list[dict]) -> int:
    """Return the epoch, counted from 1, with the lowest inner loss; the first of equals; 0 for an empty history."""
    losses = inner_losses(history)
    return losses.index(min(losses)) + 1 if losses else 0


def epochs_without_gain(history: list[dict], since: int = 0) -> int:
    """Return the number of epochs since the inner loss last improved, counting only epochs after `since`."""
    lowest, count = float("inf"), 0
    for epoch, loss in enumerate(inner_losses(history), 1):
        is_better = loss < lowest - MIN_DELTA
        lowest = loss if is_better else lowest
        count = 0 if is_better or epoch <= since else count + 1
    return count


def should_stop(history: list[dict], patience: int) -> bool:
    """Return whether training ends: after `patience` epochs without a better inner loss; with 0 never."""
    return patience > 0 and epochs_without_gain(history) >= patience


def plateau_rate(history: list[dict], peak: float, schedule: schema.Schedule) -> float:
    """Return the next epoch's learning rate: `peak`, times `schedule.factor` after every `schedule.patience` epochs
    without a better inner loss, but at least `schedule.final` of the peak."""
    rate, since = peak, 0
    for epoch in range(1, len(history) + 1):
        if epochs_without_gain(history[:epoch], since) >= schedule.patience:
            rate, since = max(rate * schedule.factor, peak * schedule.final), epoch
    return rate
