"""Processor time of a training step with and without oneDNN's kernels and the fused batch normalisation, on a CPU.

    PYTHONPATH=src .venv/bin/python benchmarks/step_kernels.py
        [experiments=[yolov8_xs,mobilenet_unet,mobilenetv2,unet_lite0,yolov8_lite0]] [steps=8] [turns=1]
        [precision=mixed_bfloat16]

A program of its own trains on one batch of noise in memory for each experiment (preset `quick`) and each of four ways:
TensorFlow's own kernels, one of the two (system/switches.py, models/keras_private.py), both. The medians are printed,
in milliseconds of processor time an image, with their share of the first. On processors with VNNI or AMX instructions
TensorFlow uses oneDNN by itself.
"""

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from allocator import environments
from pneumonia import config, schema
from pneumonia.models.registry import family as family_of
from pneumonia.runs.precision import compute_policy
from pneumonia.schema import setting
from pneumonia.training.batches import Batches
from pneumonia.training.learner import compile_learner
from pneumonia.training.loop import Stage
from tracking import noise, processor_seconds

EXPERIMENTS = ["yolov8_xs", "mobilenet_unet", "mobilenetv2", "unet_lite0", "yolov8_lite0"]
WAYS = {"neither": (False, False), "oneDNN": (True, False), "fused": (False, True), "both": (True, True)}


@dataclass
class Settings:
    experiments: list[str] = field(default_factory=lambda: list(EXPERIMENTS))
    steps: int = setting(8, "training steps that are timed", low=1)
    turns: int = setting(1, "programs of each way", low=1)
    precision: str = setting("auto", "number format, as that of an experiment")
    way: str = setting("", "this program's own: print the times of one way")


def step_seconds(experiment: schema.Experiment, steps: int, is_fused: bool = True) -> list[float]:
    """Return processor seconds of each step, for an image."""
    size, batch_size = experiment.image_size, experiment.batch_size
    samples = noise(batch_size, size)
    keras.utils.set_random_seed(0)
    with compute_policy(experiment):
        family = family_of(experiment.model, size)
        learner = compile_learner(experiment, family, family.build(), samples, 1000, Stage(0, 1, False))
        learner.fuses_batch_norm = is_fused
        batch = Batches(samples, np.arange(batch_size), batch_size, family, "none", [0, 0])[0]
        seconds = [processor_seconds(learner.train_on_batch, *batch) for _ in range(steps + 2)]
    return [each / batch_size for each in seconds[2:]]  # the first compile


def measure(name: str, way: str, settings: Settings) -> list[float]:
    """Time the steps in a program of their own: TensorFlow reads the switch when it is imported."""
    environment = environments()["jemalloc"] | {"TF_ENABLE_ONEDNN_OPTS": str(int(WAYS[way][0]))}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment["PYTHONPATH"]])
    command = [sys.executable, __file__, f"experiments=[{name}]", f"steps={settings.steps}", f"way={way}"]
    command.append(f"precision={settings.precision}")
    out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
    return [float(line) for line in out.split()]


def main(settings: Settings) -> None:
    if settings.way:
        experiment = config.read_experiment(settings.experiments[0], "quick", {"precision": settings.precision})
        for seconds in step_seconds(experiment, settings.steps, WAYS[settings.way][1]):
            print(seconds)
        return
    print(f"{'':16s}" + "".join(f"{way:>16s}" for way in WAYS))
    for name in settings.experiments:
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(settings.turns):
            for way in WAYS:
                seconds[way] += measure(name, way, settings)
        medians = [1000 * statistics.median(times) for times in seconds.values()]
        cells = [f"{median:.0f} ms ({median / medians[0]:.2f})" for median in medians]
        print(f"{name:16s}" + "".join(f"{cell:>16s}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
