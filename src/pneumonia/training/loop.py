"""Training of one model: one `fit` per epoch, a checkpoint after each, resumable to the same bits.

The length is fixed and the averaged weights are kept: nothing that is scored later chooses anything here. The inner
split, people of the training folds that are left out of training, is only looked at.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from pneumonia import schema
from pneumonia.data.batches import Batches
from pneumonia.data.samples import Samples
from pneumonia.errors import BadSurroundings
from pneumonia.models.family import Family
from pneumonia.progress import say
from pneumonia.training import checkpoint
from pneumonia.training.history import read_history, write_history
from pneumonia.training.sampling import epoch_order
from pneumonia.training.schedules import optimizer

INNER_EPOCH = 2**31 - 1  # seed of the inner split's batches: the same in every epoch, none of training's own


class Learner(keras.Model):
    """A family's network with the family's losses, each of them tracked by name."""

    def __init__(self, network: keras.Model, family: Family, loss_names: list[str]):
        super().__init__(name="learner")
        self.network, self.family = network, family
        self.parts = {name: keras.metrics.Mean(name=name) for name in loss_names}

    def call(self, images, training=None):
        return self.network(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = self.family.losses(y, y_pred)
        for name, value in losses.items():
            self.parts[name].update_state(value)
        return sum(losses.values())

    @property
    def metrics(self):
        return [*super().metrics, *self.parts.values()]


def train(
    experiment: schema.Experiment, family: Family, samples: Samples, inner: Samples | None, folder: Path, title: str
) -> keras.Model:
    """Train `experiment` on `samples`; returns the network with its averaged weights.

    Args:
        inner: images whose losses are shown after every epoch; None for none.
        folder: the run's folder; gets checkpoints and metrics.jsonl (one line per epoch). Where it holds a
            checkpoint, training goes on from there.
        title: of progress lines.

    Raises:
        BadSurroundings: the loss is not a number any more, GPU memory is short, or the disk is full.
    """
    keras.utils.set_random_seed(experiment.seed)
    orders = [
        epoch_order(samples.positive, experiment.sampling, experiment.batch_size, experiment.seed, epoch)
        for epoch in range(experiment.epochs)
    ]
    steps = len(orders[0]) // experiment.batch_size
    learner = compiled(experiment, family, samples, steps * experiment.epochs)
    variables = [*learner.network.variables, *learner.optimizer.variables]
    done = checkpoint.restore(folder, variables)
    history = read_history(folder)[:done]
    if done:
        say(f"{title}: goes on after epoch {done}/{experiment.epochs}")
    watch = Watch(title, experiment, steps, done)
    for epoch in range(done, experiment.epochs):
        started = time.monotonic()
        batches = loading(experiment, family, samples, orders[epoch], epoch)
        watch.begin(epoch, batches)
        try:
            fitted = learner.fit(batches, shuffle=False, verbose=0, callbacks=[watch])
        except Exception as error:
            raise out_of_memory(error, experiment) or error from error
        line = {"epoch": epoch + 1, **{name: values[-1] for name, values in fitted.history.items()}}
        if not all(np.isfinite(weight).all() for weight in learner.get_weights()):
            raise watch.diverged("a weight is no number any more", steps - 1)
        images_per_second = len(orders[epoch]) / (time.monotonic() - started)
        if inner is not None:
            line |= {f"inner_{name}": value for name, value in inner_losses(learner, experiment, family, inner).items()}
        line["rate"] = float(keras.ops.convert_to_numpy(learner.optimizer.learning_rate))
        history.append(line)
        write_history(folder, history)  # before the checkpoint: what a killed process leaves over is cut off again
        checkpoint.write_checkpoint(folder, epoch + 1, variables)
        watch.end(line, images_per_second)
    for variable, average in zip(learner.trainable_variables, learner.optimizer.averages()):
        variable.assign(average)
    return learner.network


def compiled(experiment: schema.Experiment, family: Family, samples: Samples, steps: int) -> Learner:
    """A new learner whose every variable exists, ready to train or to restore."""
    network = family.build()
    images, targets = Batches(samples, np.arange(min(2, len(samples))), 2, family, "none", [0])[0]
    losses = family.losses(as_tensors(targets), network(images, training=False))
    learner = Learner(network, family, list(losses))
    learner.build((None, *images.shape[1:]))
    on_gpu = keras.distribution.list_devices("gpu")
    learner.compile(optimizer=optimizer(experiment, steps), jit_compile=bool(on_gpu))
    learner.optimizer.build(learner.trainable_variables)
    return learner


def as_tensors(arrays: dict[str, np.ndarray]) -> dict:
    return {name: keras.ops.convert_to_tensor(value) for name, value in arrays.items()}


def loading(experiment, family: Family, samples: Samples, order: np.ndarray, epoch: int) -> Batches:
    """An epoch's batches, made ahead by a thread: one is enough where the CPU is also what trains."""
    workers = 8 if keras.distribution.list_devices("gpu") else 1
    seed = [experiment.seed, epoch]
    return Batches(
        samples, order, experiment.batch_size, family, experiment.augment, seed, workers=workers, max_queue_size=8
    )


def inner_losses(learner: Learner, experiment, family: Family, inner: Samples) -> dict[str, float]:
    """Losses on the inner split, without augmentation, by the weights as they are."""
    order = np.arange(len(inner))
    batches = Batches(inner, order, experiment.batch_size, family, "none", [experiment.seed, INNER_EPOCH])
    values = learner.evaluate(batches, verbose=0, return_dict=True)
    return {name: float(value) for name, value in values.items()}


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
        epochs, epoch = self.experiment.epochs, line["epoch"]
        left = (time.monotonic() - self.started) / (epoch - self.done) * (epochs - epoch)
        inner = f", inner {line['inner_loss']:.4f}" if "inner_loss" in line else ""
        if self.bar is None:
            rate = f"{images_per_second:.1f} images/s, {left:.0f} s left"
            say(f"{self.title}: epoch {epoch}/{epochs}, loss {line['loss']:.4f}{inner}, {rate}")
        elif epoch == epochs:
            self.bar.close()


def out_of_memory(error: Exception, experiment: schema.Experiment) -> BadSurroundings | None:
    """One line with the batch size to try, where that is what went wrong."""
    text = f"{type(error).__name__}: {error}"
    if "ResourceExhausted" not in text and "RESOURCE_EXHAUSTED" not in text:
        return None
    smaller = max(1, experiment.batch_size // 2)
    return BadSurroundings(f"GPU memory is short at batch_size={experiment.batch_size}; try batch_size={smaller}")
