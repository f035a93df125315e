"""Size and time of a DenseNet121 checkpoint, and the time's share of an epoch.

    PYTHONPATH=src .venv/bin/python benchmarks/checkpoint.py [image_size=224] [batch_size=32] [steps=5] [checkpoints=5]

It writes what training/loop.py writes after every epoch: all variables of the network, AdamW's two moments and the
averaged weights, in one file with its checksum in its name, flushed to disk. A training step before each checkpoint
gives each another content. An epoch's time is the median of `steps` training steps (compiled, on one batch in memory:
without loading the share is rather too large) times the steps of an epoch, of the demo's training folds and of the
competition's (21,347 images). Aim: under 2 % of an epoch. The last line gives the training speed up to which the aim
holds on this disk: on a GPU an epoch takes less time, a checkpoint does not.

Measured on a 2-core AMD EPYC that also did other work: 111.7 MB in 1.4 s; 0.47 % of an epoch of the demo's preset
`quick` (560 images, 224 px, 1.9 images/s), 0.01 % of the competition's; under 2 % of the latter up to 303 images/s.
"""

import hashlib
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save

from pneumonia import config, schema
from pneumonia.data.samples import Samples
from pneumonia.demo.folder import IMAGES
from pneumonia.models.registry import family as family_of
from pneumonia.runs import checkpoint
from pneumonia.runs.precision import compute_policy
from pneumonia.schema import setting
from pneumonia.training.batches import Batches
from pneumonia.training.learner import Learner, compile_learner
from pneumonia.training.loop import Stage

COMPETITION_IMAGES, N_FOLDS = 21_347, 5
AIM = 0.02


@dataclass
class Settings:
    image_size: int = setting(224, "pixels")
    batch_size: int = setting(32, "images per step")
    steps: int = setting(5, "training steps that are timed")
    checkpoints: int = setting(5, "checkpoints that are timed")
    folder: str = setting("", "on the disk to be measured; default: that of temporary files")


def batch_in_memory(settings: Settings, family, experiment: schema.Experiment) -> tuple[Samples, Batches]:
    """Return one batch of noise: the time does not depend on the images' content."""
    rng = np.random.default_rng(0)
    count, size = settings.batch_size, settings.image_size
    images = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
    samples = Samples(np.arange(count).astype(str), images, [np.empty((0, 4))] * count, np.arange(count) % 3)
    return samples, Batches(samples, np.arange(count), count, family, "none", [0, 0])


def step_seconds(learner: Learner, batch, steps: int) -> float:
    """Return the median seconds of `steps` training steps, after two that compile."""
    seconds = []
    for number in range(steps + 2):
        started = time.perf_counter()
        loss = learner.train_on_batch(*batch, return_dict=True)["loss"]
        float(loss)  # waits until a GPU has finished the step
        if number >= 2:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def checkpoint_seconds(learner: Learner, batch, variables: list, folder: Path, count: int) -> tuple[float, int]:
    """Return the median seconds of `count` checkpoints, with a training step before each, and the file's bytes."""
    seconds = []
    for number in range(1, count + 1):
        learner.train_on_batch(*batch)
        started = time.perf_counter()
        path = checkpoint.write_checkpoint(folder, number, variables)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), path.stat().st_size


def print_parts(variables: list) -> None:
    """Print the parts of a checkpoint's time; the rest is writing and flushing."""
    times = [time.perf_counter()]
    tensors = checkpoint.tensors_of(variables)
    times.append(time.perf_counter())
    content = save(tensors)
    times.append(time.perf_counter())
    hashlib.sha256(content).hexdigest()
    times.append(time.perf_counter())
    copy, serialise, checksum = np.diff(times)
    print(f"of which: copied from the device {copy:.3f} s, serialised {serialise:.3f} s, checksum {checksum:.3f} s")


def main(settings: Settings) -> None:
    model = schema.model_settings(name="densenet121")
    sizes = {"image_size": settings.image_size, "batch_size": settings.batch_size}
    experiment = schema.Experiment(model=model, augment="none", **sizes)
    keras.utils.set_random_seed(0)
    with compute_policy(experiment), tempfile.TemporaryDirectory(dir=settings.folder or None) as scratch:
        family = family_of(model, settings.image_size)
        samples, batches = batch_in_memory(settings, family, experiment)
        learner = compile_learner(experiment, family, family.build(), samples, 1000, Stage(0, 10, False))
        variables, batch = [*learner.network.variables, *learner.optimizer.variables], batches[0]
        step = step_seconds(learner, batch, settings.steps)
        seconds, size = checkpoint_seconds(learner, batch, variables, Path(scratch), settings.checkpoints)
        device = ", ".join(keras.distribution.list_devices())
        print(f"DenseNet121, {settings.image_size} px, batches of {settings.batch_size}, {device}")
        print(f"checkpoint: {size / 1e6:.1f} MB in {seconds:.3f} s ({size / 1e6 / seconds:.0f} MB/s)")
        print_parts(variables)
    print(f"step: {step:.3f} s ({settings.batch_size / step:.1f} images/s)\n")
    demo = {f"demo, {preset}": round(train * (1 - 1 / N_FOLDS)) for preset, (train, _) in IMAGES.items()}
    print("| training images | steps | epoch | checkpoint's share |\n|---|---|---|---|")
    for name, images in (demo | {"competition": COMPETITION_IMAGES}).items():
        steps = max(1, round(images / settings.batch_size))
        print(f"| {name}: {images:,} | {steps:,} | {steps * step:.1f} s | {seconds / (steps * step):.2%} |")
    fastest = AIM * COMPETITION_IMAGES / seconds
    print(f"\nunder {AIM:.0%} of the competition's epoch up to {fastest:.0f} training images/s on this disk")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
