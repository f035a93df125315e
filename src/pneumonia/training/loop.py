"""Train one model: one `fit` per epoch, a checkpoint after each; a resumed training is bit-identical.

By default the length is fixed and the averaged weights are kept: the held-out images choose nothing. The best epoch,
early stopping and a plateau's learning rate are chosen on the inner split, people of the training folds that are left
out of training.
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
from pneumonia.runs.precision import compute_policy, on_gpu
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
from pneumonia.training.tracking import Tracker

INNER_EPOCH = 2**31 - 1  # stands for the epoch in the seed of the inner split's batches: always the same, never trained


class Stage(NamedTuple):
    """Epochs start .. end - 1, in which the backbone is frozen or trained."""

    start: int
    end: int
    frozen: bool


class Training(NamedTuple):
    """What all epochs of a training share; see `train`."""

    experiment: schema.Experiment
    family: Family
    samples: Samples
    inner: Samples | None
    progress: ProgressCallback


def stages_of(experiment: schema.Experiment) -> list[Stage]:
    """Return one stage, or two: one with a frozen backbone and one in which everything is trained."""
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
    """Train `experiment` on `samples`; return the network with the weights that `keep` and `ema` select.

    Args:
        inner: images whose losses are measured after every epoch, or None.
        folder: the run's folder, for checkpoints and metrics.jsonl (one line per epoch). If it has a checkpoint,
            training continues from there.
        title: of progress lines.
        hardness: (samples,) for sampling.hard_negatives.

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
    epochs_done, newest = checkpoint.newest_valid(folder)
    history = checkpoint.read_history(newest)
    if epochs_done:
        write_history(folder, history)  # a killed process may have left a shorter or a longer file
        say(f"{title}: goes on after epoch {epochs_done}/{experiment.epochs}")
    progress = ProgressCallback(title, experiment, folder, steps, epochs_done)
    tracker = Tracker(experiment, folder, history, inner)
    training = Training(experiment, family, samples, inner, progress)
    with compute_policy(experiment):
        network = family.build()
        if not epochs_done:
            pretrained.load_same_network(network, family.model)
        for stage in stages_of(experiment):
            if stage.end < epochs_done:
                continue
            if stage.start and len(history) <= stage.start and should_stop(history, experiment.patience):
                break  # stopped in the stage before: a new optimizer would have no averages yet
            learner = compile_learner(experiment, family, network, samples, steps, stage)
            variables = [*learner.network.variables, *learner.optimizer.variables]
            disk_space.check_free(folder, variables, learner.network.variables, experiment.keep == "best")
            if stage.start < epochs_done:
                checkpoint.restore(newest, variables)
                add_pictures(tracker, epochs_done, learner, family)  # which a killed process had not come to
            for epoch in range(max(epochs_done, stage.start), stage.end):
                if should_stop(history, experiment.patience):
                    break
                history.append(train_epoch(learner, training, order_of(epoch), history))
                if experiment.keep == "best" and best_epoch(history) == epoch + 1:
                    with averaged_weights(learner):
                        checkpoint.write_weights(best_file(folder, epoch + 1), learner.network.variables)
                write_history(folder, history)
                checkpoint.write_checkpoint(folder, epoch + 1, variables, history)
                tracker.epoch(history[-1])
                add_pictures(tracker, epoch + 1, learner, family)
                remove_worse(folder, history)
    progress.close()
    tracker.close()
    if experiment.keep == "best":
        checkpoint.read_weights(best_file(folder, best_epoch(history)), learner.network.variables)
    else:
        assign_averages(learner)
    return learner.network


def train_epoch(learner: Learner, training: Training, order: np.ndarray, history: list[dict]) -> dict:
    """Train one epoch on rows in this order; return its line of metrics.jsonl.

    history: lines of the epochs before.
    """
    experiment, family, samples, inner, progress = training
    epoch, started = len(history), time.monotonic()
    if experiment.schedule.name == "plateau":
        learner.optimizer.learning_rate = plateau_rate(history, experiment.optimizer.learning_rate, experiment.schedule)
    mixing = {"mosaic": experiment.mosaic, "mixup": experiment.mixup}
    seed = [experiment.seed, epoch]
    batches = Batches(samples, order, experiment.batch_size, family, experiment.augment, seed, **mixing)
    progress.begin(epoch, batches)
    with BatchLoader(batches, loaders(experiment)) as loader:
        epoch_metrics = learner.fit(loader.for_fit(), shuffle=False, verbose=0, callbacks=[progress]).history
    line = {"epoch": epoch + 1, **{name: values[-1] for name, values in epoch_metrics.items()}}
    if not all(np.isfinite(weight).all() for weight in learner.get_weights()):
        raise progress.weights_diverged()
    images_per_second = len(order) / (time.monotonic() - started)
    if inner is not None:
        with averaged_weights(learner):
            line |= {
                f"inner_{name}": value for name, value in evaluate_inner(learner, experiment, family, inner).items()
            }
    line["learning_rate"] = float(keras.ops.convert_to_numpy(learner.optimizer.learning_rate))
    progress.end(line, images_per_second)
    return line


def add_pictures(tracker: Tracker, epoch: int, learner: Learner, family: Family) -> None:
    """Add this epoch's sample pictures, of the averaged weights, to the event file if they are due."""
    if tracker.lacks_pictures(epoch):
        with averaged_weights(learner):
            tracker.draw_pictures(epoch, learner.network, family)


def loaders(experiment: schema.Experiment) -> int:
    """Return the number of threads that make batches: one is enough where the CPU also trains."""
    return experiment.loaders or (8 if on_gpu() else 1)


def evaluate_inner(learner: Learner, experiment, family: Family, inner: Samples) -> dict[str, float]:
    """Return losses and metrics on the inner split, without augmentation, as means over its images.

    The last images, too few to be divided among the experiment's devices, go to every device: a device without images
    would have no mean.
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
                means.append(learner.evaluate(loader.for_fit(), verbose=0, return_dict=True))
    weights = [images for images in weights if images]
    return {name: float(np.average([mean[name] for mean in means], weights=weights)) for name in means[0]}


def best_file(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch:05d}.safetensors"


def remove_worse(folder: Path, history: list[dict]) -> None:
    """Remove files of best weights, except those of the best epoch now and of the best one before the last epoch, which
    a training that resumes from the checkpoint before the newest needs."""
    if "inner_loss" not in history[-1]:
        return
    needed = {best_file(folder, best_epoch(part)) for part in (history, history[:-1])}
    for file in folder.glob("best-*.safetensors"):
        if file not in needed:
            file.unlink(missing_ok=True)
