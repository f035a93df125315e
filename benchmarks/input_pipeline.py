"""Speed of the training input on one core, against reading DICOMs in every epoch, and the time it adds to an epoch.

    PYTHONPATH=src .venv/bin/python benchmarks/input_pipeline.py [competition folder]

Without an argument: the folder in $RSNA_MINI, else a generated demo. Five figures, in one run:

per core: images per second at 224 px with the strong augmentation, from the image cache to a batch with its targets, by
one thread. Aim: 400.
threads: the same by training/loading.py with 1, 2, 4 and 8 threads, without training, at 224 and 128 px; best of turns.
dicom: speed from the cache over that of the same batches when pydicom's pixel_array reads each image and it is resized,
as the report's generators did in every epoch. Aim: 8.
epoch: a training epoch of a frozen MobileNetV2 at 128 px, batches of 32, strong augmentation, over the same epoch on
one constant batch in memory: training/loading.py with one and two threads; Keras's PyDataset as it is and with two
workers; tf.data (parallel map over a numpy function); grain (threads). In turns, medians. Aim: 1.05 where a core is
free to load. Memory: resident, after the second turn and after the last.
gpu: where there is one, an epoch of MobileNetV2 at 224 px as experiments train it (every layer trained, the device's
number format and XLA, its number of loaders) over the same on one constant batch, in batches of 32 and 128. Aim: 1.05.

Measured on 332 real radiographs, 2-core AMD EPYC: 1,753 images/s per core at 224 px; 8.5 x as fast as from DICOMs
(8.2 to 9.1 in three runs). Threads were chosen: of PyDataset's workers, tf.data and grain none was clearly faster, they
need no package, and they also prefetch on JAX, where Keras's PyDataset with one worker does not. The epochs were not
measured again since fit has no autotuning, which rounded their times up. Not measured on a GPU.

threads, on random images of 256 px, on the same machine while other work shared its two cores, best of three turns:

    threads                1      2      4      8
    224 px, images/s   1,316  2,046  2,036  1,915
    128 px, images/s   4,296  4,111  4,165  3,968

Of an image's 0.54 ms of CPU at 224 px (on busy cores) OpenCV and NumPy take 0.31 without Python's lock, of 0.30 ms at
128 px 0.09. The other 0.22 ms, mostly albumentations' seeding and calls, need Python's lock at any size, which one
thread at a time holds: no number of threads makes much more than 5,000 images/s, and a GPU that trains faster waits.
All of this was measured when albumentations still seeded each transform separately, which was a part of that time.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import grain
import keras
import numpy as np
import psutil
import pydicom
import tensorflow as tf

from classifier_throughput import Constant
from pneumonia import schema
from pneumonia.data.cache import Cache
from pneumonia.data.competition import Competition, open_competition
from pneumonia.data.ingest import ingest
from pneumonia.data.samples import Samples, samples_of
from pneumonia.data.study_table import study_table
from pneumonia.demo.competition import generate
from pneumonia.models.registry import family as family_of
from pneumonia.runs.precision import compute_policy, on_gpu, precision_of
from pneumonia.training.batches import Batches
from pneumonia.training.learner import Learner, compile_learner
from pneumonia.training.loading import BatchLoader
from pneumonia.training.loop import Stage, loaders

BATCH, TURNS, DEMO_IMAGES, EPOCH_IMAGES = 32, 5, 200, 1280
SMALL, LARGE = 128, 224
CONSTANT = "constant batch"
THREADS, GPU_BATCHES, GPU_STEPS = (1, 2, 4, 8), (32, 128), 200


class Dicoms:
    """Images that are read from their DICOMs at every access."""

    def __init__(self, competition: Competition, ids, size: int):
        self.paths, self.size = [competition.train_images[image] for image in ids], size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        pixels = pydicom.dcmread(self.paths[index]).pixel_array
        return cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)


def batches_of(
    samples: Samples, family, count: int, augment: str = "strong", seed: int = 0, batch: int = BATCH
) -> Batches:
    order = np.random.default_rng(seed).integers(0, len(samples), count)
    return Batches(samples, order, batch, family, augment, [0, seed])


def images_per_second(batches: Batches, count: int) -> float:
    batches[0]
    start = time.perf_counter()
    for index in range(count):
        batches[index]
    return count * BATCH / (time.perf_counter() - start)


def by_threads(samples: Samples, family, count: int, turns: int = TURNS) -> dict[int, float]:
    """Return {number of threads: images per second}, without training: the best of the turns."""
    best = dict.fromkeys(THREADS, 0.0)
    for turn in range(turns):
        for threads in THREADS:
            start = time.perf_counter()
            with BatchLoader(batches_of(samples, family, count, seed=turn), threads) as loaded:
                for index in range(len(loaded)):
                    loaded[index]
            best[threads] = max(best[threads], count / (time.perf_counter() - start))
    return best


# ------------------------------------------------------------------ an epoch, by several loaders


def by_keras(workers: int):
    def source(batches: Batches):
        batches.workers = batches._workers = workers
        return batches

    return source


def by_tf_data(batches: Batches):
    images, targets = batches[0]
    names, kinds = list(targets), [images.dtype, *(value.dtype for value in targets.values())]
    shapes = [images.shape[1:], *(value.shape[1:] for value in targets.values())]

    def make(index):
        images, targets = batches[int(index)]
        return [images, *targets.values()]

    def item(index):
        parts = tf.numpy_function(make, [index], kinds)
        for part, shape in zip(parts, shapes):
            part.set_shape((None, *shape))
        return parts[0], dict(zip(names, parts[1:]))

    options = tf.data.Options()
    options.autotune.enabled = False  # it rounds an epoch's time up, as that of PyDataset
    pipeline = tf.data.Dataset.range(len(batches)).map(item, num_parallel_calls=2, deterministic=True)
    return pipeline.prefetch(4).with_options(options)


def by_grain(batches: Batches):
    dataset = grain.MapDataset.source(batches)
    return (item for item in dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)))


def epoch_seconds(learner: Learner, source, steps: int) -> float:
    start = time.perf_counter()
    learner.fit(source, shuffle=False, verbose=0, steps_per_epoch=steps)
    return time.perf_counter() - start


def by_loader(learner: Learner, threads: int, steps: int) -> Callable[[Batches], float]:
    def seconds(batches):
        with BatchLoader(batches, threads) as loader:
            return epoch_seconds(learner, loader.for_fit(), steps)

    return seconds


def time_ways(ways: dict[str, Callable[[Batches], float]], batches: Callable[[int], Batches], turns: int = TURNS):
    """Return {way: median seconds of an epoch}, measured in turns, with new batches in every turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    memory = []
    for turn in range(turns + 1):  # the first one compiles
        for name, way in ways.items():
            epoch = way(batches(turn))
            if turn:
                seconds[name].append(epoch)
        memory.append(psutil.Process().memory_info().rss / 2**20)
    print(f"resident: {memory[1]:.0f} MiB after the second turn, {memory[-1]:.0f} after the last")
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare_loaders(samples: Samples) -> dict[str, float]:
    """Return {loader: median seconds of an epoch} of the frozen MobileNetV2 at SMALL px."""
    keras.utils.set_random_seed(0)
    model = schema.model_settings(name="mobilenetv2", frozen_epochs=-1)
    family = family_of(model, SMALL)
    experiment = schema.Experiment(model=model, image_size=SMALL, batch_size=BATCH)
    steps = EPOCH_IMAGES // BATCH
    learner = compile_learner(experiment, family, family.build(), samples, steps, Stage(0, 1, True))
    constant = batches_of(samples, family, BATCH, "none")[0]
    ways = {
        CONSTANT: lambda batches: by_loader(learner, 1, steps)(Constant(constant, steps)),
        "one thread": by_loader(learner, 1, steps),
        "two threads": by_loader(learner, 2, steps),
        "PyDataset": lambda batches: epoch_seconds(learner, by_keras(1)(batches), steps),
        "PyDataset, 2 workers": lambda batches: epoch_seconds(learner, by_keras(2)(batches), steps),
        "tf.data": lambda batches: epoch_seconds(learner, by_tf_data(batches), steps),
        "grain": lambda batches: epoch_seconds(learner, by_grain(batches), steps),
    }
    return time_ways(ways, lambda turn: batches_of(samples, family, EPOCH_IMAGES, seed=turn))


def compare_training(model: schema.Model, samples: Samples, size: int, batch: int, steps: int, turns: int = TURNS):
    """Return {way: median seconds of an epoch} of a model, trained as an experiment does on this device."""
    keras.utils.set_random_seed(0)
    experiment = schema.Experiment(model=model, image_size=size, batch_size=batch)
    family = family_of(model, size)
    with compute_policy(experiment):
        learner = compile_learner(experiment, family, family.build(), samples, steps, Stage(0, 1, False))
        constant = batches_of(samples, family, batch, "none", batch=batch)[0]
        ways = {
            CONSTANT: lambda batches: by_loader(learner, 1, steps)(Constant(constant, steps)),
            f"{loaders(experiment)} loaders": by_loader(learner, loaders(experiment), steps),
        }
        return time_ways(ways, lambda turn: batches_of(samples, family, steps * batch, seed=turn, batch=batch), turns)


def print_seconds(title: str, images: int, seconds: dict[str, float]) -> None:
    for name, value in seconds.items():
        print(f"{title}, epoch of {images}, {name}: {value:.2f} s, {value / seconds[CONSTANT]:.3f} x", flush=True)


def main(root: Path | None) -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if root is None:
            root = Path(scratch) / "demo"
            generate(root, DEMO_IMAGES, 2, seed=0)
        competition = open_competition(root)
        cache: Cache = ingest(competition, LARGE, 1, Path(scratch) / "cache")
        study = study_table(competition, False, cache.index)
        large = family_of(schema.model_settings(name="mobilenetv2"), LARGE)
        samples = samples_of(study, cache, LARGE)
        from_cache = images_per_second(batches_of(samples, large, 640), 20)
        dicoms = Samples(samples.ids, Dicoms(competition, samples.ids, LARGE), samples.boxes, samples.classes)
        from_dicoms = images_per_second(batches_of(dicoms, large, 160), 5)
        print(f"{len(samples)} images; {os.cpu_count()} cores")
        print(f"per core: {from_cache:.0f} images/s at {LARGE} px, strong preset, from the cache")
        print(f"dicom: {from_dicoms:.0f} images/s; the cache is {from_cache / from_dicoms:.1f} x as fast")
        small = samples_of(study, cache, SMALL)
        for size, images in ((LARGE, samples), (SMALL, small)):
            rates = by_threads(images, family_of(schema.model_settings(name="mobilenetv2"), size), EPOCH_IMAGES)
            text = ", ".join(f"{threads}: {rate:,.0f}" for threads, rate in rates.items())
            print(f"threads, images/s at {size} px: {text}", flush=True)
        print_seconds(f"{SMALL} px, frozen", EPOCH_IMAGES, compare_loaders(small))
        if not on_gpu():
            print("gpu: none")
            return
        for batch in GPU_BATCHES:
            title = f"gpu: {LARGE} px, {precision_of(schema.Experiment())}, batches of {batch}"
            seconds = compare_training(schema.model_settings(name="mobilenetv2"), samples, LARGE, batch, GPU_STEPS)
            print_seconds(title, GPU_STEPS * batch, seconds)


if __name__ == "__main__":
    argument = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("RSNA_MINI", "")
    main(Path(argument) if argument else None)
