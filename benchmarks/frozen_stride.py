"""Processor time of a training step by `model.frozen_stride`, on one batch of noise in memory.

    PYTHONPATH=src .venv/bin/python benchmarks/frozen_stride.py [experiments=[yolov8_lite0,unet_lite0]]
                                                                [strides=[0,2,4,8]] [steps=6] [turns=2]

The networks of a turn are built and timed one after the other; the medians of all turns are printed, in milliseconds of
processor time an image, with their share of the first stride's. Weights are ImageNet's: with none nothing is frozen.
"""

import statistics
import sys
from dataclasses import dataclass, field

import keras
import numpy as np

from pneumonia import config
from pneumonia.models.registry import family as family_of
from pneumonia.runs.precision import compute_policy
from pneumonia.schema import setting
from pneumonia.training.batches import Batches
from pneumonia.training.learner import compile_learner
from pneumonia.training.loop import Stage
from tracking import noise, processor_seconds


@dataclass
class Settings:
    experiments: list[str] = field(default_factory=lambda: ["yolov8_lite0", "unet_lite0"])
    strides: list[int] = field(default_factory=lambda: [0, 2, 4, 8])
    steps: int = setting(6, "training steps that are timed in a turn", low=1)
    turns: int = setting(2, "turns", low=1)


def step_seconds(name: str, stride: int, steps: int) -> list[float]:
    """Return processor seconds of each step, for an image."""
    changes = {"model": {"weights": "imagenet", "frozen_stride": stride}}
    experiment = config.read_experiment(name, "quick", changes)
    size, batch_size = experiment.image_size, experiment.batch_size
    samples = noise(batch_size, size)
    keras.utils.set_random_seed(0)
    with compute_policy(experiment):
        family = family_of(experiment.model, size)
        learner = compile_learner(experiment, family, family.build(), samples, 1000, Stage(0, 1, False))
        batch = Batches(samples, np.arange(batch_size), batch_size, family, "none", [0, 0])[0]
        seconds = [processor_seconds(learner.train_on_batch, *batch) for _ in range(steps + 2)]
    return [each / batch_size for each in seconds[2:]]  # the first compile


def main(settings: Settings) -> None:
    for name in settings.experiments:
        seconds: dict[int, list[float]] = {stride: [] for stride in settings.strides}
        for _ in range(settings.turns):
            for stride in settings.strides:
                seconds[stride] += step_seconds(name, stride, settings.steps)
        medians = {stride: 1000 * statistics.median(times) for stride, times in seconds.items()}
        first = medians[settings.strides[0]]
        for stride, milliseconds in medians.items():
            print(
                f"{name}, frozen_stride {stride}: {milliseconds:.0f} ms an image, {milliseconds / first:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
