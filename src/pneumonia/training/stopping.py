"""What the inner split decides: the plateau's learning rate, when to stop, which epoch was best.

Each is a pure function of the history (metrics.jsonl), so that a resumed training decides as an uninterrupted one does,
without any state of its own. The inner split is people of the training folds, never the held-out fold.
"""

from pneumonia import schema

LEAST_GAIN = 1e-4  # smaller improvements of a loss do not count, as in Keras's callbacks


def inner_losses(history: list[dict]) -> list[float]:
    return [line["inner_loss"] for line in history]


def best_epoch(history: list[dict]) -> int:
    """The epoch, counted from 1, with the lowest inner loss; the first of equals; 0 where there is none."""
    losses = inner_losses(history)
    return losses.index(min(losses)) + 1 if losses else 0


def epochs_without_gain(history: list[dict], since: int = 0) -> int:
    """Epochs at the end of the history that brought no better inner loss, counted from epoch `since` on."""
    lowest, waiting = float("inf"), 0
    for epoch, loss in enumerate(inner_losses(history), 1):
        better = loss < lowest - LEAST_GAIN
        lowest = loss if better else lowest
        waiting = 0 if better or epoch <= since else waiting + 1
    return waiting


def should_stop(history: list[dict], patience: int) -> bool:
    """Whether training ends after this history: `patience` epochs without a better inner loss; 0: never."""
    return patience > 0 and epochs_without_gain(history) >= patience


def plateau_rate(history: list[dict], peak: float, schedule: schema.Schedule) -> float:
    """The next epoch's learning rate: `peak`, times `schedule.factor` whenever `schedule.patience` epochs have brought
    no better inner loss, but never below `schedule.final` of the peak."""
    rate, since = peak, 0
    for epoch in range(1, len(history) + 1):
        if epochs_without_gain(history[:epoch], since) >= schedule.patience:
            rate, since = max(rate * schedule.factor, peak * schedule.final), epoch
    return rate
