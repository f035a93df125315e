"""Page faults and processor time of a training step, with glibc's allocator and with jemalloc.

    PYTHONPATH=src .venv/bin/python benchmarks/page_faults.py [experiment=yolov8_xs] [image_size=256] [steps=8]

TensorFlow's data pipeline sets glibc to return freed memory (system/freed_memory.py). The same step, on a batch of
noise, runs in a process for each way: the network alone with a squared error, and our learner, both by
`train_on_batch`, without the pipeline; by `fit` as TensorFlow leaves it; by `fit` as it is now; and that with jemalloc.
"""

import os
import resource
import subprocess
import sys
from dataclasses import dataclass

import keras
import numpy as np

from pneumonia import config
from pneumonia.models.registry import family as family_of
from pneumonia.schema import setting
from pneumonia.system.allocator import with_allocator
from pneumonia.system.switches import set_switches
from pneumonia.training import loading
from pneumonia.training.batches import Batches
from pneumonia.training.learner import compile_learner
from pneumonia.training.loop import Stage
from tracking import noise

WARM_UP = 3  # steps that are not counted: the first compiles
WAYS = ("network alone", "train_on_batch", "fit, as TensorFlow leaves it", "fit", "fit, jemalloc")


@dataclass
class Settings:
    experiment: str = setting("yolov8_xs", "a localizer, at preset quick")
    image_size: int = setting(256, "pixels", low=32)
    steps: int = setting(8, "steps that are counted", low=1)
    way: str = setting("", "one of them, in this process; empty: all", choices=("", *WAYS))


def measure(settings: Settings) -> None:
    experiment = config.read_experiment(settings.experiment, "quick", {"image_size": settings.image_size})
    size = experiment.batch_size
    family = family_of(experiment.model, experiment.image_size)
    samples, network = noise(size, experiment.image_size), family.build()
    batch = Batches(samples, np.arange(size), size, family, "none", [0, 0])[0]
    if settings.way == "network alone":
        network.compile("adamw", dict.fromkeys(network.output, "mse"), jit_compile=False)
        zeros = {name: np.zeros((size, *value.shape[1:]), np.float32) for name, value in network.output.items()}
        run = steps_of(lambda: network.train_on_batch(batch[0], zeros))
    else:
        learner = compile_learner(experiment, family, network, samples, 1000, Stage(0, 1, False))
        run = steps_of(lambda: learner.train_on_batch(*batch))
    if settings.way.startswith("fit"):
        if "TensorFlow" in settings.way:
            loading.keep_freed_memory = lambda: None

        def run(steps: int) -> None:
            order = np.tile(np.arange(size), steps)
            with loading.BatchLoader(Batches(samples, order, size, family, experiment.augment, [0, 0]), 1) as loader:
                learner.fit(loader.for_fit(), shuffle=False, verbose=0)

    run(WARM_UP)
    before = resource.getrusage(resource.RUSAGE_SELF)
    run(settings.steps)
    after = resource.getrusage(resource.RUSAGE_SELF)
    faults = (after.ru_minflt - before.ru_minflt) / settings.steps
    user, system = (
        (getattr(after, name) - getattr(before, name)) / settings.steps for name in ("ru_utime", "ru_stime")
    )
    print(f"{settings.way}: {faults:.0f} page faults, {user:.2f} s user and {system:.2f} s system a step", flush=True)


def steps_of(step):
    def run(steps: int) -> None:
        for _ in range(steps):
            step()

    return run


def main(settings: Settings) -> None:
    if settings.way:
        keras.utils.set_random_seed(0)
        measure(settings)
        return
    set_switches()  # for the processes below
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LD_PRELOAD", "MALLOC_"))}
    for way in WAYS:
        environment = with_allocator(bare) if "jemalloc" in way else bare
        subprocess.run([sys.executable, __file__, *sys.argv[1:], f"way={way}"], env=environment, check=True)


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
