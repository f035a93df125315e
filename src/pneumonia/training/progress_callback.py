"""Show the progress of a training, and stop it if the loss is NaN or infinite."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
from tqdm import tqdm

from pneumonia import schema
from pneumonia.runs.memory import CHECKPOINT_KEPT
from pneumonia.runs.progress_file import SECONDS_BETWEEN, Progress, remove_progress, write_progress
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.progress import say
from pneumonia.training.batches import Batches


class ProgressCallback(keras.callbacks.Callback):
    """Shows a progress bar, or a line per epoch, and stops training if the loss is NaN or infinite.

    Args:
        folder: the run's, for progress.json.
        steps: of an epoch. done: epochs done before.
    """

    def __init__(self, title: str, experiment: schema.Experiment, folder: Path, steps: int, done: int):
        super().__init__()
        self.title, self.experiment, self.folder, self.steps, self.done = title, experiment, folder, steps, done
        self.started = self.epoch_started = self.written = time.monotonic()
        self.bar: Callable | None = None
        if sys.stderr.isatty():
            total = experiment.epochs * steps
            self.bar = tqdm(desc=title, total=total, initial=done * steps, unit="step", dynamic_ncols=True, leave=False)

    def begin(self, epoch: int, batches: Batches) -> None:
        self.epoch, self.batches, self.epoch_started = epoch, batches, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise self.diverged(f"the loss is {loss}", batch, self.experiment.optimizer.gradient_accumulation_steps)
        if self.bar is not None:
            self.bar.set_postfix(epoch=f"{self.epoch + 1}/{self.experiment.epochs}", loss=f"{loss:.4f}", refresh=False)
            self.bar.update()
        now = time.monotonic()
        if now - self.written >= SECONDS_BETWEEN:
            self.written = now
            speed = (batch + 1) * self.experiment.batch_size / (now - self.epoch_started)
            self.write(self.epoch + 1, batch + 1, loss, speed)

    def write(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Write progress.json. epoch: from 1. step: steps done of it."""
        epochs, here = self.experiment.epochs, (epoch - 1 - self.done) * self.steps + step
        seconds_left = (time.monotonic() - self.started) / here * ((epochs - epoch + 1) * self.steps - step)
        progress = Progress(epoch, epochs, step, self.steps, loss, images_per_second, seconds_left)
        write_progress(self.folder, progress)

    def weights_diverged(self) -> EnvironmentFailure:
        """Return the error of an epoch whose losses were all finite, but whose last gradients made a weight infinite
        or NaN."""
        last, accumulated = len(self.batches) - 1, self.experiment.optimizer.gradient_accumulation_steps - 1
        return self.diverged("a weight is NaN or infinite", last, accumulated)

    def diverged(self, problem: str, batch: int, steps_before: int) -> EnvironmentFailure:
        """Return the error that names the images of step `batch` and of the `steps_before` steps before it in the
        epoch: an infinite gradient shows only in the loss of a later step."""
        images = f"its images: {', '.join(self.batches.ids(batch))}"
        steps = range(max(0, batch - steps_before), batch)
        if steps:
            before = ", ".join(name for step in steps for name in self.batches.ids(step))
            where = "step before" if len(steps) == 1 else f"{len(steps)} steps before"
            images += f"; those of the {where}, whose gradients moved the weights: {before}"
        kept_checkpoint = f"{CHECKPOINT_KEPT}; " if self.epoch else ""
        return EnvironmentFailure(
            f"{self.title}: {problem} in epoch {self.epoch + 1}, step {batch + 1}; {images}; {kept_checkpoint}lower "
            "optimizer.learning_rate or look at these images"
        )

    def end(self, line: dict, images_per_second: float) -> None:
        """Print how an epoch ended. line: of metrics.jsonl."""
        self.write(line["epoch"], self.steps, line["loss"], images_per_second)
        if self.bar is not None:
            return
        epochs, epoch = self.experiment.epochs, line["epoch"]
        seconds_left = (time.monotonic() - self.started) / (epoch - self.done) * (epochs - epoch)
        inner = f", inner {line['inner_loss']:.4f}" if "inner_loss" in line else ""
        speed = f"{images_per_second:.1f} images/s, {seconds_left:.0f} s left"
        say(f"{self.title}: epoch {epoch}/{epochs}, loss {line['loss']:.4f}{inner}, {speed}")

    def close(self) -> None:
        """The training has ended."""
        remove_progress(self.folder)
        if self.bar is not None:
            self.bar.close()
