"""What a person sees of a training while it runs, and what stops it."""

import math
import sys
import time
from collections.abc import Callable

import keras
from tqdm import tqdm

from pneumonia import schema
from pneumonia.data.batches import Batches
from pneumonia.errors import BadSurroundings
from pneumonia.progress import say


class Watch(keras.callbacks.Callback):
    """Shows how far training is, and stops it where the loss is not a number any more."""

    def __init__(self, title: str, experiment: schema.Experiment, steps: int, done: int):
        super().__init__()
        self.title, self.experiment, self.done = title, experiment, done
        self.started = time.monotonic()
        self.bar: Callable | None = None
        if sys.stderr.isatty():
            total = experiment.epochs * steps
            self.bar = tqdm(desc=title, total=total, initial=done * steps, unit="step", dynamic_ncols=True, leave=False)

    def begin(self, epoch: int, batches: Batches) -> None:
        self.epoch, self.batches = epoch, batches

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise self.diverged(f"the loss is {loss}", batch)
        if self.bar is not None:
            self.bar.set_postfix(epoch=f"{self.epoch + 1}/{self.experiment.epochs}", loss=f"{loss:.4f}", refresh=False)
            self.bar.update()

    def diverged(self, what: str, batch: int) -> BadSurroundings:
        ids = ", ".join(self.batches.ids(batch))
        return BadSurroundings(
            f"{self.title}: {what} in epoch {self.epoch + 1}, step {batch + 1}; its images: {ids}; "
            "the checkpoint of the epoch before is kept; lower optimizer.rate or look at these images"
        )

    def end(self, line: dict, images_per_second: float) -> None:
        """Say how an epoch ended. line: of metrics.jsonl."""
        if self.bar is not None:
            return
        epochs, epoch = self.experiment.epochs, line["epoch"]
        left = (time.monotonic() - self.started) / (epoch - self.done) * (epochs - epoch)
        inner = f", inner {line['inner_loss']:.4f}" if "inner_loss" in line else ""
        rate = f"{images_per_second:.1f} images/s, {left:.0f} s left"
        say(f"{self.title}: epoch {epoch}/{epochs}, loss {line['loss']:.4f}{inner}, {rate}")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def out_of_memory(error: Exception, experiment: schema.Experiment) -> BadSurroundings | None:
    """One line with the batch size to try, where that is what went wrong."""
    text = f"{type(error).__name__}: {error}"
    if "ResourceExhausted" not in text and "RESOURCE_EXHAUSTED" not in text:
        return None
    smaller = max(1, experiment.batch_size // 2)
    return BadSurroundings(
        f"GPU memory is short at batch_size={experiment.batch_size}; the checkpoint of the epoch before is kept; try "
        f"batch_size={smaller} (and optimizer.accumulate={2 * experiment.optimizer.accumulate} for the same gradients)"
    )
