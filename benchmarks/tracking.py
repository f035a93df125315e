"""What an event file costs: processor time of its values and pictures, and their share of a training; its size.

    PYTHONPATH=src nice .venv/bin/python benchmarks/tracking.py [experiment=mobilenet_unet] [images=560] [epochs=20]
                                                    [pictures=5] [steps=10]

It times training steps (compiled, on one batch of noise in memory: without loading the share is rather too large), and
then writes what training/loop.py writes in `epochs` epochs: the values of each, and the sample pictures (averaged
weights put in and out, predicted, drawn, encoded) of every few. Last it opens the finished file, as a training that
resumes does. Everything is processor time of this process, which other work on the machine does not add to much.

Measured on a busy 2-core AMD EPYC: MobileNet U-Net at 224 px 0.10 ms for an epoch's values and 0.97 s for six
pictures, 0.18 % of the training (0.21 % with compiling); MobileNetV2 at 160 px 0.13 ms and 0.46 s, 0.46 % (0.86 %); the
file, whose noise compresses worse than radiographs, 1.7 MB, opened in 0.3 to 0.4 s.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from pneumonia import config
from pneumonia.data.samples import Samples
from pneumonia.models.registry import family as family_of
from pneumonia.runs.event_file import NAME, EventFile
from pneumonia.runs.precision import compute_policy
from pneumonia.schema import setting
from pneumonia.training.batches import Batches
from pneumonia.training.learner import compile_learner
from pneumonia.training.loop import Stage, add_pictures
from pneumonia.training.tracking import Tracker


@dataclass
class Settings:
    experiment: str = setting("mobilenet_unet", "experiments/NAME.yaml, at preset quick, nothing pretrained")
    images: int = setting(560, "training images of an epoch; 560 are the demo's", low=1)
    epochs: int = setting(20, "of the training that is reckoned with", low=1)
    pictures: int = setting(5, "epochs between sample pictures", low=1)
    steps: int = setting(10, "training steps that are timed", low=1)


def noise(count: int, size: int) -> Samples:
    """Images of noise; every third has one box."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
    classes = np.arange(count) % 3
    boxes = [
        np.array([[size / 4, size / 4, size / 3, size / 3]]) if kind == 2 else np.empty((0, 4)) for kind in classes
    ]
    return Samples(np.array([f"image-{row}" for row in range(count)]), images, boxes, classes)


def processor_seconds(function, *arguments) -> float:
    started = time.process_time()
    function(*arguments)
    return time.process_time() - started


def main(settings: Settings) -> None:
    changes = {"pictures": settings.pictures, "epochs": settings.epochs, "model": {"weights": "none"}}
    experiment = config.read_experiment(settings.experiment, "quick", changes)
    size, batch_size = experiment.image_size, experiment.batch_size
    samples = noise(max(batch_size, 12), size)
    keras.utils.set_random_seed(0)
    with compute_policy(experiment), tempfile.TemporaryDirectory() as scratch:
        family = family_of(experiment.model, size)
        learner = compile_learner(experiment, family, family.build(), samples, 1000, Stage(0, settings.epochs, False))
        batch = Batches(samples, np.arange(batch_size), batch_size, family, "none", [0, 0])[0]
        steps = [processor_seconds(learner.train_on_batch, *batch) for _ in range(settings.steps + 2)]
        training = statistics.median(steps[2:]) * max(1, round(settings.images / batch_size)) * settings.epochs
        losses = {name: float(value) for name, value in learner.train_on_batch(*batch, return_dict=True).items()}
        line = losses | {f"inner_{name}": value for name, value in losses.items()} | {"learning_rate": 1e-3}
        tracker, values, pictures = Tracker(experiment, Path(scratch), [], samples), [], []
        for epoch in range(1, settings.epochs + 1):
            values.append(processor_seconds(tracker.epoch, {"epoch": epoch, **line}))
            if tracker.lacks_pictures(epoch):
                pictures.append(processor_seconds(add_pictures, tracker, epoch, learner, family))
        tracker.close()
        opening = processor_seconds(EventFile, Path(scratch), settings.epochs)
        size_on_disk = (Path(scratch) / NAME).stat().st_size
    compiling = pictures[0] - statistics.median(pictures[1:] or pictures)
    print(f"{settings.experiment}, {size} px, {settings.epochs} epochs of {settings.images} images, processor seconds:")
    print(f"  training {training:.0f}")
    print(f"  values of {len(line)} losses and rates, an epoch: {statistics.median(values):.5f}")
    print(f"  {len(tracker.samples)} pictures: {statistics.median(pictures):.3f}, and once {compiling:.2f} to compile,")
    print("    which the predictions after the training would otherwise do")
    share = (sum(values) + sum(pictures) - compiling) / training
    print(f"  share of the training {share:.3%}; with compiling {share + compiling / training:.3%}")
    print(f"  opening the file of {size_on_disk / 1e3:.0f} kB when a training resumes: {opening:.3f}")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
