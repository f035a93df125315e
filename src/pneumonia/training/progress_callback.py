"""What a person sees of a training while it runs, and what stops it."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
from tqdm import tqdm

from pneumonia import schema
from pneumonia.runs.checkpoint import checkpoints
from pneumonia.runs.precision import on_gpu
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadSurroundings
from pneumonia.system.progress import say
from pneumonia.training.batches import Batches

# TensorFlow's and JAX's own, the CUDA driver's, and that of cuDNN and cuBLAS
SIGNS_OF_SHORT_MEMORY = ("ResourceExhausted", "RESOURCE_EXHAUSTED", "CUDA_ERROR_OUT_OF_MEMORY", "STATUS_ALLOC_FAILED")
EPOCH_KEPT = "the checkpoint of the epoch before is kept"


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
            raise self.diverged(f"the loss is {loss}", batch, self.experiment.optimizer.accumulate)
        if self.bar is not None:
            self.bar.set_postfix(epoch=f"{self.epoch + 1}/{self.experiment.epochs}", loss=f"{loss:.4f}", refresh=False)
            self.bar.update()

    def ruined(self) -> BadSurroundings:
        """The last gradients of an epoch whose every loss was a number left weights that are none."""
        last, accumulated = len(self.batches) - 1, self.experiment.optimizer.accumulate - 1
        return self.diverged("a weight is no number any more", last, accumulated)

    def diverged(self, what: str, batch: int, moved: int) -> BadSurroundings:
        """Names the images of step `batch` and of the `moved` steps before it in the epoch, whose gradients moved the
        weights last: a gradient that is no number leaves the loss of its own step finite."""
        culprits = f"its images: {', '.join(self.batches.ids(batch))}"
        steps = range(max(0, batch - moved), batch)
        if steps:
            before = ", ".join(name for step in steps for name in self.batches.ids(step))
            where = "step before" if len(steps) == 1 else f"{len(steps)} steps before"
            culprits += f"; those of the {where}, whose gradients moved the weights: {before}"
        checkpointed = f"{EPOCH_KEPT}; " if self.epoch else ""
        return BadSurroundings(
            f"{self.title}: {what} in epoch {self.epoch + 1}, step {batch + 1}; {culprits}; {checkpointed}lower "
            "optimizer.rate or look at these images"
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


@contextlib.contextmanager
def memory_watched(experiment: schema.Experiment, folder: Path | None = None, mend: str = "") -> Iterator[None]:
    """Inside, what a backend raises where memory is short becomes one line that says what to try.

    Args:
        folder: of a run that is being trained, to say what of it is kept.
        mend: what to try; by default a smaller batch or a smaller network.

    Raises:
        BadSurroundings: memory is short.
    """
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if not (isinstance(error, MemoryError) or any(sign in text for sign in SIGNS_OF_SHORT_MEMORY)):
            raise
        memory = "GPU memory" if on_gpu() else "memory"
        what = f"{memory} is short at batch_size={experiment.batch_size}"
        raise BadSurroundings("; ".join(filter(None, (what, kept(folder), mend or smaller(experiment))))) from error


def kept(folder: Path | None) -> str:
    """What a training that ends here leaves in its run's folder."""
    if folder is None:
        return ""
    if Run(folder).weights.exists():
        return "the trained weights are kept"
    return EPOCH_KEPT if checkpoints(folder) else ""


def smaller(experiment: schema.Experiment) -> str:
    """What to try where memory is short; a batch stays a multiple of the devices."""
    batch_size, devices = experiment.batch_size, experiment.devices
    less = max(1, batch_size // 2 // devices) * devices
    if less >= batch_size:
        return "try a smaller image_size, or a smaller model"
    accumulate = round(experiment.optimizer.accumulate * batch_size / less)
    return f"try batch_size={less} (and optimizer.accumulate={accumulate} for nearly the same gradients)"
