"""A checkpoint of DenseNet121: its size, its time, and that time's share of an epoch.

    PYTHONPATH=src .venv/bin/python benchmarks/checkpoint.py [image_size=224] [batch_size=32] [steps=5] [checkpoints=5]

What is written is what training/loop.py writes after every epoch: all variables of the network, AdamW's two moments and
the averaged weights, one file with its checksum in its name, flushed to disk. Each checkpoint is written after a step,
so that no two have the same content. An epoch's time is the median of `steps` training steps (compiled, on one batch in
memory, so that no input is waited for and the share comes out rather too large) times the steps of an epoch: of the
demo's training folds and of the competition's (21,347 images). Aim: under 2 % of an epoch. The last line says up to
which training speed the aim holds on this disk: on a GPU the epoch shrinks and the checkpoint does not.

Measured on a 2-core AMD EPYC that was doing other work beside: 111.7 MB in 1.4 s; 0.47 % of an epoch of the demo's
quick preset (560 images, 224 px, 1.9 images/s), 0.01 % of the competition's; under 2 % of that up to 303 images/s.
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
    steps: int = setting(5, "that are timed")
    checkpoints: int = setting(5, "that are timed")
    folder: str = setting("", "on the disk to be measured; default: that of temporary files")


def batch_in_memory(settings: Settings, family, experiment: schema.Experiment) -> tuple[Samples, Batches]:
    """One batch of noise: time does not depend on what is on the images."""
    rng = np.random.default_rng(0)
    count, size = settings.batch_size, settings.image_size
    images = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
    samples = Samples(np.arange(count).astype(str), images, [np.empty((0, 4))] * count, np.arange(count) % 3)
    return samples, Batches(samples, np.arange(count), count, family, "none", [0, 0])


def seconds_of_a_step(learner: Learner, batch, steps: int) -> float:
    """Median of `steps`, after two that compile."""
    seconds = []
    for number in range(steps + 2):
        started = time.perf_counter()
        loss = learner.train_on_batch(*batch, return_dict=True)["loss"]
        float(loss)  # a GPU has done the step only when somebody asks for its result
        if number >= 2:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def seconds_of_a_checkpoint(learner: Learner, batch, variables: list, folder: Path, count: int) -> tuple[float, int]:
    """Median of `count`, and the file's bytes; a step between two of them."""
    seconds = []
    for number in range(1, count + 1):
        learner.train_on_batch(*batch)
        started = time.perf_counter()
        path = checkpoint.write_checkpoint(folder, number, variables)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), path.stat().st_size


def print_parts(variables: list) -> None:
    """Where the time of a checkpoint goes; what is left of it is writing and flushing."""
    started = time.perf_counter()
    tensors = checkpoint.tensors_of(variables)
    taken = time.perf_counter()
    content = save(tensors)
    saved = time.perf_counter()
    hashlib.sha256(content).hexdigest()
    hashed = time.perf_counter()
    parts = f"copied from the device {taken - started:.3f} s, serialised {saved - taken:.3f} s"
    print(f"of which: {parts}, checksum {hashed - saved:.3f} s")


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
        step = seconds_of_a_step(learner, batch, settings.steps)
        written, size = seconds_of_a_checkpoint(learner, batch, variables, Path(scratch), settings.checkpoints)
        device = ", ".join(keras.distribution.list_devices())
        print(f"DenseNet121, {settings.image_size} px, batches of {settings.batch_size}, {device}")
        print(f"checkpoint: {size / 1e6:.1f} MB in {written:.3f} s ({size / 1e6 / written:.0f} MB/s)")
        print_parts(variables)
    print(f"step: {step:.3f} s ({settings.batch_size / step:.1f} images/s)\n")
    demo = {f"demo, {preset}": round(train * (1 - 1 / N_FOLDS)) for preset, (train, _) in IMAGES.items()}
    print("| training images | steps | epoch | checkpoint's share |\n|---|---|---|---|")
    for name, images in (demo | {"competition": COMPETITION_IMAGES}).items():
        steps = max(1, round(images / settings.batch_size))
        print(f"| {name}: {images:,} | {steps:,} | {steps * step:.1f} s | {written / (steps * step):.2%} |")
    fastest = AIM * COMPETITION_IMAGES / written
    print(f"\nunder {AIM:.0%} of the competition's epoch up to {fastest:.0f} training images/s on this disk")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
