"""The unit costs of docs/scale.md, each measured in a process of its own; scale.py puts them together.

Seconds are arrays (2,): of the wall clock, and of the processors. On a machine that others use only the second means
much; both go through the same formulae.
"""

import json
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.data.check import refuse_faults
from pneumonia.data.competition import open_competition, resolve
from pneumonia.data.folds import make_folds
from pneumonia.data.ingest import ingest
from pneumonia.data.prepared import prepare
from pneumonia.data.study_table import study_table
from pneumonia.metrics.iou_map import Truth
from pneumonia.schema import setting

TARGETS = (26_684, 1_000_000, 100_000_000)  # training images
TEST_SHARE = 3_000 / 26_684  # test images to a training image, and
POSITIVE = 0.225  # share of training images with boxes, in the competition
TABLES = {"check": "h", "study": "s", "folds": "g", "truth": "r"}  # stages that read or make tables, with symbols
IN_EVERY_RUN = ("check", "study", "folds")
N_FOLDS = 5
TURNS = 3  # of what is timed; the fastest counts
ENOUGH = 10.0  # seconds of turns after which there is no other


@dataclass
class Settings:
    preset: str = setting("smoke", "of demo and experiments")
    images: int = setting(0, "training images at 1 x; 0: the preset's demo")
    factors: list[int] = field(default_factory=lambda: [1, 2, 4])
    epochs: int = setting(0, "of every member in the jobs that are checked; 0: the preset's")
    projected: str = setting("full", "preset whose sizes and epochs the projection is of")
    ensemble: str = setting("default", "whose members are measured")
    steps: int = setting(10, "of a timed epoch; another one has thrice as many")
    larger: int = setting(2, "factor of the image's side at which training is measured again; 1: not")
    table_images: int = setting(20_000, "of made-up tables without images; they are also measured at twice as many")
    devices: int = setting(1, "that the projection shares the runs among")
    price: float = setting(0.0, "of a device-hour")
    measure: str = setting("", "one unit cost, in this process (this program calls itself)")
    data: str = setting("", "measure: competition folder")
    size: int = setting(0, "measure: pixels")
    began: float = setting(0.0, "measure: when the process was started")


# ------------------------------------------------------------------ unit costs, each in a process of its own


def of_ingest(settings: Settings) -> dict:
    """Seconds an image of squares of `size` on one core; of looking at a cache that is there; bytes an image."""
    competition = open_competition(settings.data)

    def anew() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            ingest(competition, settings.size, 1, scratch)

    read = fastest_of(anew)
    cache = ingest(competition, settings.size, workers=1)
    verified = fastest_of(lambda: ingest(competition, settings.size, workers=1))
    images = len(cache)
    return {"ingest": read / images, "verify": verified / images, "cache_bytes": bytes_in(cache.folder) / images}


def of_files(settings: Settings) -> dict:
    """Seconds an image of listing the folder and asking for sizes; of reading a header, by which boxes are checked."""
    images = open_competition(settings.data).train_images
    opened = fastest_of(lambda: open_competition(settings.data).content_key)
    headers = fastest_of(lambda: [*map(open_competition(settings.data).size_of, images)]) - opened
    return {"open": opened / len(images), "header": np.maximum(0.0, headers) / len(images)}


def of_tables(settings: Settings) -> dict:
    """Seconds of study table, folds and truth for so many made-up images; the process's peak memory says the rest."""
    rng = np.random.default_rng(0)
    images, folder = settings.table_images, Path(settings.data)
    folder.mkdir(parents=True)
    ids = sorted(str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(images))
    positive = rng.random(images) < POSITIVE
    boxes = ["100.0,100.0,200.0,300.0,1" if each else ",,,,0" for each in positive]
    others = np.where(rng.random(images) < 0.57, "No Lung Opacity / Not Normal", "Normal")
    names = np.where(positive, "Lung Opacity", others)
    person = rng.permutation(images) * 3 // 7  # 2.33 images a person, as in the competition
    write(folder / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", map(",".join, zip(ids, boxes)))
    write(folder / "stage_2_detailed_class_info.csv", "patientId,class", map(",".join, zip(ids, names)))
    write(folder / "mapping.csv", "patientId,nih_patient", (f"{a},{b}" for a, b in zip(ids, person)))
    facts = {"sex": rng.choice(["M", "F"], images), "view": rng.choice(["AP", "PA"], images)}
    facts |= {"age": rng.integers(1, 90, images), "rows": 1024, "columns": 1024}
    header = pd.DataFrame({"patientId": ids, **facts})
    competition = open_competition(folder)
    study = study_table(competition, header=header)
    stages = {
        "check": lambda: refuse_faults(competition, needs_images=False, needs_sample=False),
        "study": lambda: study_table(competition, header=header),
        "folds": lambda: make_folds(study, N_FOLDS),
        "truth": lambda: Truth.from_lists(study["patientId"], study["boxes"]),
    }
    return {name: fastest_of(stage) for name, stage in stages.items()}


def write(path: Path, header: str, rows) -> None:
    path.write_text("\n".join([header, *rows]) + "\n")


def of_fusing(settings: Settings) -> dict:
    """Seconds of fitting and scoring an ensemble's recipe, by held-out image; what it costs with no image."""
    from fusion import members as made_up
    from pneumonia.boxes.predictions import ClassProbabilities, offsets_of
    from pneumonia.commands.submit import TRIALS
    from pneumonia.ensemble.nested import fit_nested, problem_of
    from pneumonia.ensemble.tune import Search

    def fitting(images: int):
        rng = np.random.default_rng(0)
        tables = {str(number): each for number, each in enumerate(made_up(images)[: settings.size])}
        counts = (rng.random(images) < POSITIVE).astype(np.int64)
        first = tables["0"]
        truth = Truth(first.ids, offsets_of(counts), first.boxes[first.offsets[:-1][counts > 0]])
        gate = {"gate": ClassProbabilities(first.ids, np.clip(rng.normal(0.3 + 0.3 * counts, 0.2), 0, 1))}
        return lambda: fit_nested(problem_of(tables, gate, truth), search=Search(TRIALS[settings.preset]))

    fitting(50)()  # compiles
    prepared = {images: fitting(images) for images in (500, 1500)}
    seconds, fixed = slope(lambda images: prepared[images](), 500, 1)
    return {"fuse": seconds, "fuse_fixed": fixed}


def of_member(settings: Settings) -> dict:
    """Seconds of a run's start, of a trained, looked-at and predicted image, and of an epoch without images."""
    import keras

    from pneumonia.data.samples import Samples, cached_images
    from pneumonia.inference.predict import predict
    from pneumonia.models.registry import family as family_of
    from pneumonia.runs import checkpoint
    from pneumonia.runs.precision import compute_policy
    from pneumonia.training import loop
    from pneumonia.training.batches import Batches
    from pneumonia.training.learner import compile_learner
    from pneumonia.training.loading import BatchLoader
    from pneumonia.training.run_data import Rows, run_data_of

    experiment = config.read_experiment(settings.measure, settings.preset, {"image_size": settings.size})
    job = schema.Job(data=settings.data, preset=settings.preset)
    looking = clocks()
    data = prepare(job, resolve(job), [settings.size])
    looking = clocks() - looking  # its costs are measured apart
    samples = run_data_of(data, 0, experiment).samples
    batch, rng = experiment.batch_size, np.random.default_rng(0)
    with compute_policy(experiment):
        family = family_of(experiment.model, experiment.image_size)
        learner = compile_learner(
            experiment, family, family.build(), samples, settings.steps, loop.Stage(0, 100, False)
        )

    def epoch(steps: int) -> None:
        order = rng.integers(0, len(samples), steps * batch)
        batches = Batches(samples, order, batch, family, experiment.augment, [0, 0])
        with BatchLoader(batches, loop.loaders(experiment)) as loaded:
            learner.fit(loaded, shuffle=False, verbose=0)

    def look(images: int) -> None:
        rows = np.arange(images) % len(samples)
        facts = None if samples.person_features is None else samples.person_features[rows]
        boxes = [samples.boxes[number] for number in rows]
        looked_at = Samples(samples.ids[rows], Rows(samples.images, rows), boxes, samples.classes[rows], facts)
        loop.inner_losses(learner, experiment, family, looked_at)

    def predicting(images: int) -> None:
        ids = [samples.ids[number % len(samples)] for number in range(images)]
        predict(learner.network, family, cached_images(data.cache, ids, experiment.image_size), experiment, "images")

    for work in (epoch, look, predicting):  # each compiles
        work(2)
    ready = np.array([time.time() - settings.began, time.process_time()]) - looking
    train, of_epoch = slope(epoch, settings.steps, batch)
    predicted, _ = slope(predicting, settings.steps * batch, 1)
    looked_at, _ = slope(look, settings.steps * batch, 1)
    variables = [*learner.network.variables, *learner.optimizer.variables]
    with tempfile.TemporaryDirectory() as scratch:
        written = fastest_of(lambda: checkpoint.write_checkpoint(Path(scratch), 1, variables))
        checkpoint.write_weights(Path(scratch) / "weights", learner.network.variables)
        sizes = {name: next(Path(scratch).glob(name)).stat().st_size for name in ("epoch-*", "weights")}
    return {
        "start": ready, "train": train, "look": looked_at, "predict": predicted, "of_epoch": of_epoch + written,
        "checkpoint_bytes": sizes["epoch-*"], "weights_bytes": sizes["weights"],
        "device": ", ".join(keras.distribution.list_devices()),
    }  # fmt: skip


def slope(work, amount: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds per image, and what is left without any: from `amount` and thrice `amount`, each of `images` images."""
    few, many = np.full(2, np.inf), np.full(2, np.inf)
    for _ in range(2 * TURNS):
        few, many = (
            np.minimum(least, fastest_of(lambda n=n: work(n))) for least, n in ((few, amount), (many, 3 * amount))
        )
        if (many > few).all():
            break
    if many[1] <= few[1]:
        raise SystemExit(f"{3 * amount} took no longer than {amount}: the machine is too busy to measure; raise steps=")
    more = np.maximum(0.0, many - few)
    return more / (2 * amount * images), np.maximum(0.0, few - more / 2)


def fastest_of(work) -> np.ndarray:
    """Seconds of the fastest turn on each clock: other work on the machine only ever adds."""
    turns, began = [], time.perf_counter()
    while not turns or (len(turns) < TURNS and time.perf_counter() - began < ENOUGH):
        started = clocks()
        work()
        turns.append(clocks() - started)
    return np.min(turns, axis=0)


def clocks() -> np.ndarray:
    """(2,) seconds of the wall clock, and of the processors for this process with all its threads."""
    return np.array([time.perf_counter(), time.process_time()])


UNITS = {"ingest": of_ingest, "files": of_files, "tables": of_tables, "fusing": of_fusing}


def of_one(settings: Settings) -> None:
    """`measure=`: the unit cost as one line of JSON."""
    print(json.dumps(UNITS.get(settings.measure, of_member)(settings), default=np.ndarray.tolist))


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
