"""Training input: how fast one core makes it, against reading DICOMs in every epoch, and what it adds to an epoch.

    PYTHONPATH=src .venv/bin/python benchmarks/input_pipeline.py [competition folder]

Without an argument: the folder in $RSNA_MINI, else a generated demo. Three figures, in one run:

per core: images per second at 224 px with the strong preset, from the image cache to a batch with its targets, by one
thread. Aim: 400.
dicom: the same batches when each image is read by pydicom's pixel_array and resized anew, as the report's generators
did in every epoch, over the cache's. Aim: 8.
epoch: a training epoch of a frozen MobileNetV2 at 128 px, batches of 32, strong preset, over the same epoch on one
constant batch in memory: data/loading.py with one and two threads; Keras's PyDataset as it is and with two workers;
tf.data (parallel map over a numpy function); grain (threads). In turns, medians. Aim: 1.05, where cores are free of
training. Memory: resident, after the second turn and after the last.

Measured on 332 real radiographs, 2-core AMD EPYC: 1,753 images/s per core at 224 px; 8.5 x as fast as from DICOMs
(8.2 to 9.1 in three runs). An epoch where one core trains and the other is free to load (TF_NUM_INTRAOP_THREADS,
TF_NUM_INTEROP_THREADS and OMP_NUM_THREADS = 1): 1.02 x the constant batch's with one thread, 1.05 with two, PyDataset
1.02 (0.98 with two workers), tf.data 1.46, grain 0.99. Where both cores also train nothing is free, and loading has to
be paid: 1.16 x with one thread, 1.17 with two, PyDataset 1.26 (1.14), tf.data 1.16, grain 1.28 (other work was running;
differences of a few hundredths are noise). Resident: 1,176 MiB after the second turn, 1,167 after the last. The threads
won: none was clearly faster in both settings, they need no package, and they prefetch on JAX too, where Keras's own
PyDataset with one worker does not. Not measured on a GPU.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import grain
import keras
import numpy as np
import psutil
import pydicom
import tensorflow as tf

from pneumonia import schema
from pneumonia.data.augment import Augmentation
from pneumonia.data.batches import Batches
from pneumonia.data.cache import Cache
from pneumonia.data.competition import Competition, open_competition, study_table
from pneumonia.data.ingest import ingest
from pneumonia.data.loading import Loaded
from pneumonia.data.phantom import generate
from pneumonia.data.samples import Samples, samples_of
from pneumonia.models.registry import family as family_of
from pneumonia.training.learner import compiled
from pneumonia.training.loop import Stage

BATCH, TURNS, DEMO_IMAGES, EPOCH_IMAGES = 32, 5, 200, 1280
SMALL, LARGE = 128, 224


class Dicoms:
    """Images read from their DICOMs whenever they are asked for."""

    def __init__(self, competition: Competition, ids, size: int):
        self.paths, self.size = [competition.train_images[image] for image in ids], size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        pixels = pydicom.dcmread(self.paths[index]).pixel_array
        return cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)


class Constant(keras.utils.PyDataset):
    """The same batch again and again."""

    def __init__(self, batch, count: int):
        super().__init__()
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        return self.batch


def batches_of(samples: Samples, family, count: int, augment: str = "strong", seed: int = 0) -> Batches:
    order = np.random.default_rng(seed).integers(0, len(samples), count)
    return Batches(samples, order, BATCH, family, augment, [0, seed])


def images_per_second(batches: Batches, count: int) -> float:
    batches[0]
    start = time.perf_counter()
    for index in range(count):
        batches[index]
    return count * BATCH / (time.perf_counter() - start)


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
        made, wanted = batches[int(index)]
        return [made, *wanted.values()]

    def item(index):
        parts = tf.numpy_function(make, [index], kinds)
        for part, shape in zip(parts, shapes):
            part.set_shape((None, *shape))
        return parts[0], dict(zip(names, parts[1:]))

    return tf.data.Dataset.range(len(batches)).map(item, num_parallel_calls=2, deterministic=True).prefetch(4)


def by_grain(batches: Batches):
    made = grain.MapDataset.source(batches)
    return (item for item in made.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)))


def epoch(learner, source, steps: int) -> float:
    start = time.perf_counter()
    learner.fit(source, shuffle=False, verbose=0, steps_per_epoch=steps)
    return time.perf_counter() - start


def timed_epochs(samples: Samples, family, learner) -> dict[str, float]:
    """Median seconds of an epoch by each way, each in turn, with new batches in every turn."""
    steps = EPOCH_IMAGES // BATCH
    constant = batches_of(samples, family, BATCH, "none")[0]

    def threads(count: int):
        def way(batches):
            with Loaded(batches, count) as loaded:
                return epoch(learner, loaded, steps)

        return way

    ways = {
        "constant batch": lambda batches: epoch(learner, Constant(constant, steps), steps),
        "one thread": threads(1),
        "two threads": threads(2),
        "PyDataset": lambda batches: epoch(learner, by_keras(1)(batches), steps),
        "PyDataset, 2 workers": lambda batches: epoch(learner, by_keras(2)(batches), steps),
        "tf.data": lambda batches: epoch(learner, by_tf_data(batches), steps),
        "grain": lambda batches: epoch(learner, by_grain(batches), steps),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    memory = []
    for turn in range(TURNS + 1):  # the first one compiles
        for name, way in ways.items():
            taken = way(batches_of(samples, family, EPOCH_IMAGES, seed=turn))
            if turn:
                seconds[name].append(taken)
        memory.append(psutil.Process().memory_info().rss / 2**20)
    print(f"resident: {memory[1]:.0f} MiB after the second turn, {memory[-1]:.0f} after the last")
    return {name: statistics.median(values) for name, values in seconds.items()}


def main(root: Path | None) -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if root is None:
            root = Path(scratch) / "demo"
            generate(root, DEMO_IMAGES, 2, seed=0)
        competition = open_competition(root)
        cache: Cache = ingest(competition, LARGE, 1, Path(scratch) / "cache")
        study = study_table(competition, False, cache.index)
        large = family_of(schema.Model(name="mobilenetv2"), LARGE)
        samples = samples_of(study, cache, LARGE)
        from_cache = images_per_second(batches_of(samples, large, 640), 20)
        dicoms = Samples(samples.ids, Dicoms(competition, samples.ids, LARGE), samples.boxes, samples.classes)
        from_dicoms = images_per_second(batches_of(dicoms, large, 160), 5)
        print(f"{len(samples)} images; {os.cpu_count()} cores")
        print(f"per core: {from_cache:.0f} images/s at {LARGE} px, strong preset, from the cache")
        print(f"dicom: {from_dicoms:.0f} images/s; the cache is {from_cache / from_dicoms:.1f} x as fast")
        assert Augmentation("strong").with_boxes is not None
        keras.utils.set_random_seed(0)
        model = schema.Model(name="mobilenetv2", frozen_epochs=-1)
        small = family_of(model, SMALL)
        experiment = schema.Experiment(model=model, image_size=SMALL, batch_size=BATCH)
        samples = samples_of(study, cache, SMALL)
        learner = compiled(experiment, small, small.build(), samples, EPOCH_IMAGES // BATCH, Stage(0, 1, True))
        seconds = timed_epochs(samples, small, learner)
        for name, value in seconds.items():
            print(f"epoch of {EPOCH_IMAGES}, {name}: {value:.2f} s, {value / seconds['constant batch']:.3f} x")


if __name__ == "__main__":
    argument = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("RSNA_MINI", "")
    main(Path(argument) if argument else None)
