"""Processor time of a training step by `model.frozen_stride`, on one batch of noise in memory.

    PYTHONPATH=src .venv/bin/python benchmarks/frozen_stride.py [experiments=[yolov8_lite0,unet_lite0]]
                                                                [strides=[0,2,4,8]] [steps=6] [turns=2]

The networks of a turn are built and timed one after the other; the medians of all turns are printed, in milliseconds of
processor time an image, with their share of the first stride's. Weights are ImageNet's: with none nothing is frozen.
"""

import statistics
import sys
from dataclasses import dataclass, field

from pneumonia.system.switches import set_switches

set_switches()

from pneumonia import config  # noqa: E402
from pneumonia.schema import setting  # noqa: E402
from step_kernels import step_seconds  # noqa: E402


@dataclass
class Settings:
    experiments: list[str] = field(default_factory=lambda: ["yolov8_lite0", "unet_lite0"])
    strides: list[int] = field(default_factory=lambda: [0, 2, 4, 8])
    steps: int = setting(6, "training steps that are timed in a turn", low=1)
    turns: int = setting(2, "turns", low=1)


def main(settings: Settings) -> None:
    for name in settings.experiments:
        seconds: dict[int, list[float]] = {stride: [] for stride in settings.strides}
        for _ in range(settings.turns):
            for stride in settings.strides:
                changes = {"model": {"weights": "imagenet", "frozen_stride": stride}}
                seconds[stride] += step_seconds(config.read_experiment(name, "quick", changes), settings.steps)
        medians = {stride: 1000 * statistics.median(times) for stride, times in seconds.items()}
        first = medians[settings.strides[0]]
        for stride, milliseconds in medians.items():
            print(
                f"{name}, frozen_stride {stride}: {milliseconds:.0f} ms an image, {milliseconds / first:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
