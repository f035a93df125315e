"""Training of one model: one `fit` per epoch, a checkpoint after each, resumable to the same bits.

By default the length is fixed and the averaged weights are kept: nothing that is scored later chooses anything here.
What is to be chosen (best epoch, early stopping, a plateau) is chosen on the inner split, people of the training folds
that are left out of training.
"""

import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from pneumonia import schema
from pneumonia.data.samples import Samples
from pneumonia.models import pretrained
from pneumonia.models.family import Family
from pneumonia.runs import checkpoint
from pneumonia.runs.history import write_history
from pneumonia.runs.precision import computing, on_gpu
from pneumonia.schema.relations import check_stopping
from pneumonia.system.progress import say
from pneumonia.training import disk_space
from pneumonia.training.batches import Batches
from pneumonia.training.learner import Learner, compile_learner
from pneumonia.training.loading import BatchLoader
from pneumonia.training.progress_callback import ProgressCallback
from pneumonia.training.sampling import epoch_order
from pneumonia.training.schedules import assign_averages, averaged_weights
from pneumonia.training.stopping import best_epoch, plateau_rate, should_stop

INNER_EPOCH = 2**31 - 1  # in the seed of the inner split's batches: the same after every epoch, and no epoch's own


class Stage(NamedTuple):
    """Epochs start .. end - 1, in which the backbone is frozen or learns."""

    start: int
    end: int
    frozen: bool


class Training(NamedTuple):
    """What stays the same in every epoch of a training; `train` says what each part is."""

    experiment: schema.Experiment
    family: Family
    samples: Samples
    inner: Samples | None
    progress: ProgressCallback


def stages_of(experiment: schema.Experiment) -> list[Stage]:
    """One stage, or a frozen one and one in which everything learns."""
    frozen, epochs = experiment.model.frozen_epochs, experiment.epochs
    if frozen < 0 or frozen >= epochs:
        return [Stage(0, epochs, True)]
    return [Stage(0, frozen, True), Stage(frozen, epochs, False)] if frozen else [Stage(0, epochs, False)]


def train(
    experiment: schema.Experiment,
    family: Family,
    samples: Samples,
    inner: Samples | None,
    folder: Path,
    title: str,
    hardness: np.ndarray | None = None,
) -> keras.Model:
    """Train `experiment` on `samples`; returns the network with the weights that `keep` and `ema` say.

    Args:
        inner: images whose losses are measured after every epoch; None for none.
        folder: the run's folder; gets checkpoints and metrics.jsonl (one line per epoch). Where it holds a
            checkpoint, training goes on from there.
        title: of progress lines.
        hardness: of each sample, for sampling.hard_negatives.

    Raises:
        BadInput: settings that contradict each other.
        EnvironmentFailure: the loss is NaN or infinite, or the disk is full.
    """
    check_stopping(experiment, inner is not None)
    keras.utils.set_random_seed(experiment.seed)
    order_of = partial(
        epoch_order, samples.positive, experiment.sampling, experiment.batch_size, experiment.seed, hardness=hardness
    )
    steps = len(order_of(0)) // experiment.batch_size
    epochs_done, newest = checkpoint.newest_sound(folder)
    history = checkpoint.history_of(newest)
    if epochs_done:
        write_history(folder, history)  # what a killed process left may be shorter, or longer
        say(f"{title}: goes on after epoch {epochs_done}/{experiment.epochs}")
    progress = ProgressCallback(title, experiment, steps, epochs_done)
    training = Training(experiment, family, samples, inner, progress)
    with computing(experiment):
        network = family.build()
        if not epochs_done:
            pretrained.load_same_network(network, family.model)
        for stage in stages_of(experiment):
            if stage.end < epochs_done:
                continue
            if stage.start and len(history) <= stage.start and should_stop(history, experiment.patience):
                break  # stopped in the stage before: a new optimizer's averages would be nobody's weights
            learner = compile_learner(experiment, family, network, samples, steps, stage)
            variables = [*learner.network.variables, *learner.optimizer.variables]
            disk_space.check_free(folder, variables, learner.network.variables, experiment.keep == "best")
            if stage.start < epochs_done:
                checkpoint.restore(newest, variables)
            for epoch in range(max(epochs_done, stage.start), stage.end):
                if should_stop(history, experiment.patience):
                    break
                history.append(train_epoch(learner, training, order_of(epoch), history))
                if experiment.keep == "best" and best_epoch(history) == epoch + 1:
                    with averaged_weights(learner):
                        checkpoint.write_weights(best_file(folder, epoch + 1), learner.network.variables)
                write_history(folder, history)
                checkpoint.write_checkpoint(folder, epoch + 1, variables, history)
                remove_worse(folder, history)
    progress.close()
    if experiment.keep == "best":
        checkpoint.read_weights(best_file(folder, best_epoch(history)), learner.network.variables)
    else:
        assign_averages(learner)
    return learner.network


def train_epoch(learner: Learner, training: Training, order: np.ndarray, history: list[dict]) -> dict:
    """Train one epoch on rows in this order; returns its line of metrics.jsonl.

    history: lines of the epochs before.
    """
    experiment, family, samples, inner, progress = training
    epoch, started = len(history), time.monotonic()
    if experiment.schedule.name == "plateau":
        learner.optimizer.learning_rate = plateau_rate(history, experiment.optimizer.learning_rate, experiment.schedule)
    batches = Batches(samples, order, experiment.batch_size, family, experiment.augment, [experiment.seed, epoch])
    progress.begin(epoch, batches)
    with BatchLoader(batches, loaders(experiment)) as loader:
        epoch_metrics = learner.fit(loader, shuffle=False, verbose=0, callbacks=[progress]).history
    line = {"epoch": epoch + 1, **{name: values[-1] for name, values in epoch_metrics.items()}}
    if not all(np.isfinite(weight).all() for weight in learner.get_weights()):
        raise progress.weights_diverged()
    images_per_second = len(order) / (time.monotonic() - started)
    if inner is not None:
        with averaged_weights(learner):
            line |= {f"inner_{name}": value for name, value in inner_losses(learner, experiment, family, inner).items()}
    line["learning_rate"] = float(keras.ops.convert_to_numpy(learner.optimizer.learning_rate))
    progress.end(line, images_per_second)
    return line


def loaders(experiment: schema.Experiment) -> int:
    """Threads that make batches: one is enough where the CPU is also what trains."""
    return experiment.loaders or (8 if on_gpu() else 1)


def inner_losses(learner: Learner, experiment, family: Family, inner: Samples) -> dict[str, float]:
    """Losses and metrics on the inner split, without augmentation, as means over its images.

    The last images, which do not divide among the experiment's devices, are given to each of them: a device without
    images would have no mean.
    """
    rows, size, devices = np.arange(len(inner)), experiment.batch_size, experiment.devices
    even = len(inner) - len(inner) % devices
    whole = even - even % size if devices > 1 else even
    rest = rows[even:]
    parts = [(rows[:whole], size), (rows[whole:even], even - whole), (np.tile(rest, devices), devices * len(rest))]
    means, weights = [], [whole, even - whole, len(rest)]
    for order, batch_size in parts:
        if batch_size and len(order):
            batches = Batches(inner, order, batch_size, family, "none", [experiment.seed, INNER_EPOCH])
            with BatchLoader(batches, loaders(experiment)) as loader:
                means.append(learner.evaluate(loader, verbose=0, return_dict=True))
    weights = [images for images in weights if images]
    return {name: float(np.average([each[name] for each in means], weights=weights)) for name in means[0]}


def best_file(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch:05d}.safetensors"


def remove_worse(folder: Path, history: list[dict]) -> None:
    """Remove weights that were best once, but those of the epoch before: its checkpoint may still be needed."""
    if "inner_loss" not in history[-1]:
        return
    needed = {best_file(folder, best_epoch(part)) for part in (history, history[:-1])}
    for file in folder.glob("best-*.safetensors"):
        if file not in needed:
            file.unlink(missing_ok=True)
