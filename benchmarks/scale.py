"""Unit costs of the whole job, what they say of 1 x, 2 x and 4 x the demo's images, and what those runs then took.

    PYTHONPATH=src .venv/bin/python benchmarks/scale.py [preset=smoke] [factors=[1,2,4]] [steps=10] [larger=2]
                                                        [devices=1] [price=0] [table_images=20000]

Prints in Markdown what docs/scale.md leaves open: unit costs (each measured in a process of its own, so that its memory
is its own), how training grows with the image's side, predicted beside measured for every factor, and the formulae of
docs/scale.md at the competition's size, at a million and at a hundred million images. Everything runs in a copy of this
program that has no cache and no runs yet.

Only one figure is taken from what is then predicted: what the job costs beside its parts (its own start, tables,
report) is the rest of the run at 1 x. The runs at the other factors are predictions.

price: of one hour of one device, in whatever currency; 0 prints device-hours only.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.config import REPOSITORY
from pneumonia.data.check import refuse_faults
from pneumonia.data.competition import open_competition, resolve, study_table
from pneumonia.data.demo import IMAGES
from pneumonia.data.folds import make_folds
from pneumonia.data.ingest import WORTH_A_PROCESS, cores, ingest
from pneumonia.data.phantom import generate
from pneumonia.data.prepared import prepare
from pneumonia.metrics.iou_map import Truth
from pneumonia.schema import setting

TARGETS = (26_684, 1_000_000, 100_000_000)  # training images
TABLES = {"check": "h", "study": "s", "folds": "g", "truth": "r"}  # stages that read or make tables, with symbols
IN_EVERY_RUN = ("check", "study", "folds")
N_FOLDS = 5
TURNS = 3  # of what is timed; the fastest counts


@dataclass
class Settings:
    preset: str = setting("smoke", "of demo and experiments")
    images: int = setting(0, "training images at 1 x; 0: the preset's demo")
    factors: list[int] = field(default_factory=lambda: [1, 2, 4])
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
    """Seconds an image on one core; of looking at a cache that is there; bytes an image."""
    competition = open_competition(settings.data)

    def anew() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            ingest(competition, settings.size, 1, scratch)

    read = fastest_of(anew)
    cache = ingest(competition, settings.size, workers=1)
    verified = fastest_of(lambda: ingest(competition, settings.size, workers=1))
    images, size = len(cache), bytes_in(cache.folder)
    return {"ingest": read / images, "verify": verified / images, "cache_bytes": size / images}


def of_tables(settings: Settings) -> dict:
    """Seconds of study table, folds and truth for so many made-up images; the process's peak memory says the rest."""
    rng = np.random.default_rng(0)
    images, folder = settings.table_images, Path(settings.data)
    folder.mkdir(parents=True)
    ids = sorted(str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(images))
    positive = rng.random(images) < 0.225
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
    from pneumonia.combine import TRIALS
    from pneumonia.ensemble.nested import fit_nested
    from pneumonia.ensemble.tune import Budget
    from pneumonia.predictions import ClassProbabilities, offsets_of

    def fitting(images: int):
        rng = np.random.default_rng(0)
        tables = {str(number): each for number, each in enumerate(made_up(images)[: settings.size])}
        counts = (rng.random(images) < 0.225).astype(np.int64)
        first = tables["0"]
        truth = Truth(first.ids, offsets_of(counts), first.boxes[first.offsets[:-1][counts > 0]])
        gate = {"gate": ClassProbabilities(first.ids, np.clip(rng.normal(0.3 + 0.3 * counts, 0.2), 0, 1))}
        return lambda: fit_nested(tables, gate, truth, None, None, Budget(TRIALS[settings.preset]))

    fitting(50)()  # compiles
    prepared = {images: fitting(images) for images in (500, 1500)}
    seconds, fixed = slope(lambda images: prepared[images](), 500, 1)
    return {"fuse": seconds, "fuse_fixed": fixed}


def of_member(settings: Settings) -> dict:
    """Seconds of a run's start, of a trained, looked-at and predicted image, and of an epoch without images."""
    from pneumonia.data.batches import Batches
    from pneumonia.data.loading import Loaded
    from pneumonia.data.samples import CachedImages, Samples, original_sizes
    from pneumonia.inference.predict import predict
    from pneumonia.models.registry import family as family_of
    from pneumonia.training import checkpoint, loop
    from pneumonia.training.learner import compiled
    from pneumonia.training.material import Rows, material_of
    from pneumonia.training.precision import computing

    experiment = config.read_experiment(settings.measure, settings.preset, {"image_size": settings.size})
    job = schema.Job(data=settings.data, preset=settings.preset)
    looking = time.time()
    data = prepare(job, resolve(job), settings.size)
    looking = time.time() - looking  # its costs are measured apart
    samples = material_of(data, 0, experiment).samples
    batch, rng = experiment.batch_size, np.random.default_rng(0)
    with computing(experiment):
        family = family_of(experiment.model, experiment.image_size)
        learner = compiled(experiment, family, family.build(), samples, settings.steps, loop.Stage(0, 100, False))

    def epoch(steps: int) -> None:
        order = rng.integers(0, len(samples), steps * batch)
        batches = Batches(samples, order, batch, family, experiment.augment, [0, 0])
        with Loaded(batches, loop.loaders(experiment)) as loaded:
            learner.fit(loaded, shuffle=False, verbose=0)

    def look(images: int) -> None:
        rows = np.arange(images) % len(samples)
        facts = None if samples.facts is None else samples.facts[rows]
        boxes = [samples.boxes[number] for number in rows]
        looked_at = Samples(samples.ids[rows], Rows(samples.images, rows), boxes, samples.classes[rows], facts)
        loop.inner_losses(learner, experiment, family, looked_at)

    def predicting(images: int) -> None:
        ids = [samples.ids[number % len(samples)] for number in range(images)]
        squares, sizes = CachedImages(data.cache, ids, experiment.image_size), original_sizes(data.cache, ids)
        predict(learner.network, family, ids, squares, sizes, experiment.tta, batch, "images")

    for work in (epoch, look, predicting):  # each compiles
        work(2)
    ready = time.time() - settings.began - looking
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
    }  # fmt: skip


def slope(work, amount: int, images: int) -> tuple[float, float]:
    """Seconds per image, and what is left without any: from `amount` and thrice `amount`, each of `images` images."""
    few, many = math.inf, math.inf
    for _ in range(2 * TURNS):
        few, many = (
            min(least, fastest_of(lambda n=n: work(n), TURNS)) for least, n in ((few, amount), (many, 3 * amount))
        )
        if many > few:
            return (many - few) / (2 * amount * images), max(0.0, few - (many - few) / 2)
    raise SystemExit(f"{3 * amount} took no longer than {amount}: the machine is too busy to measure; raise steps=")


def fastest_of(work, turns: int = TURNS) -> float:
    """Seconds of the fastest turn: other work on the machine only ever adds."""
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


UNITS = {"ingest": of_ingest, "tables": of_tables, "fusing": of_fusing}


def of_one(settings: Settings) -> None:
    """`measure=`: the unit cost as one line of JSON."""
    print(json.dumps(UNITS.get(settings.measure, of_member)(settings)))


# ------------------------------------------------------------------ the formulae of docs/scale.md


@dataclass(frozen=True)
class Job:
    """fold=0 of the job, or all of its folds: what its time depends on beside the unit costs."""

    train: int  # training images of all folds
    test: int
    folds: int = 1
    devices: int = 1

    @property
    def images(self) -> int:
        return self.train + self.test

    @property
    def held_out(self) -> float:
        return self.train / N_FOLDS


def run_seconds(job: Job, experiment: schema.Experiment, unit: dict, costs: dict) -> float:
    """One run: start, a look at the cache, epochs, predictions."""
    training = job.train - job.held_out
    inner = experiment.inner_share * training
    shown = experiment.sampling.images or training - inner
    epoch = unit["of_epoch"] + shown * unit["train"] + inner * unit["look"]
    prepared = job.images * costs["verify"] + job.train * sum(costs[name] for name in IN_EVERY_RUN)
    return unit["start"] + prepared + experiment.epochs * epoch + (job.held_out + job.test) * unit["predict"]


def job_seconds(job: Job, experiments: dict, units: dict, costs: dict) -> tuple[float, float]:
    """The job, and of it the runs, which are shared among the devices."""
    runs = sum(run_seconds(job, each, units[name], costs) for name, each in experiments.items())
    workers = max(1, min(cores(), job.images // WORTH_A_PROCESS))
    own = job.images * costs["ingest"] / workers + job.train * sum(costs[name] for name in TABLES)
    own += costs["fuse_fixed"] + job.folds * job.held_out * costs["fuse"]
    return costs.get("job", 0.0) + own + job.folds * runs / job.devices, job.folds * runs


def disk_bytes(job: Job, units: dict, costs: dict) -> float:
    """Cache, weights and prediction tables, when the job is done."""
    weights = job.folds * sum(unit["weights_bytes"] for unit in units.values())
    tables = job.folds * (job.held_out + job.test) * costs["table_bytes"]
    return job.images * costs["cache_bytes"] + weights + tables


# ------------------------------------------------------------------ runs


class Copy:
    """A copy of this program with no cache and no runs."""

    def __init__(self, scratch: Path):
        self.root = scratch
        for name in ("src", "experiments", "benchmarks"):
            shutil.copytree(REPOSITORY / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, *command: str) -> tuple[dict, float, float]:
        """The JSON of its last line, seconds, and bytes of memory of its largest process."""
        began, log = time.monotonic(), self.root / "log"
        environment = os.environ | {"PYTHONPATH": str(self.root / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with open(log, "w") as said:
            line = [sys.executable, *command]
            process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
            try:
                text = process.stdout.read()
            except BaseException:  # Ctrl-C: a job stops its runs when it is asked to, not when it is killed
                process.send_signal(signal.SIGINT)
                process.wait()
                raise
            _, process.returncode, used = os.wait4(process.pid, 0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}\n{log.read_text()[-3000:]}")
        return json.loads(text.splitlines()[-1]), time.monotonic() - began, used.ru_maxrss * 1024

    def measured(self, measure: str, **changes) -> tuple[dict, float]:
        words = {**changes, "measure": measure, "began": time.time()}
        script = str(self.root / "benchmarks" / "scale.py")
        found, _, memory = self.run(script, *(f"{key}={value}" for key, value in words.items()))
        return found, memory

    def job(self, folder: Path, preset: str, ensemble: str) -> tuple[dict, float, float]:
        words = (f"data={folder}", f"preset={preset}", f"ensemble={ensemble}", "fold=0", "json=true")
        return self.run("-P", "-m", "pneumonia", *words)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(settings: Settings) -> None:
    ensemble = config.read_ensemble(settings.ensemble)
    experiments = {name: config.read_experiment(name, settings.preset) for name in ensemble["members"]}
    train, test = IMAGES[settings.preset]
    train, test = settings.images or train, test * (settings.images or train) // train
    with tempfile.TemporaryDirectory() as scratch:
        copy = Copy(Path(scratch) / "copy")
        folders = {
            factor: generate(Path(scratch) / f"demo-{factor}", factor * train, factor * test)
            for factor in settings.factors
        }
        first = folders[settings.factors[0]]
        units, costs = unit_costs(copy, settings, experiments, first)
        job = Job(settings.factors[0] * train, settings.factors[0] * test)
        print_units(settings, experiments, units, costs, job)
        print_checks(copy, settings, experiments, units, costs, folders)
        print_larger(copy, settings, experiments, units, first)
    print_projection(settings, experiments, units, costs, test / train)


def unit_costs(copy: Copy, settings: Settings, experiments: dict, folder: Path) -> tuple[dict, dict]:
    """{member: costs} and the costs of everything else. What takes memory has it as `memory`."""
    common = {"preset": settings.preset, "steps": settings.steps}
    largest = max(each.image_size for each in experiments.values())
    costs, _ = copy.measured("ingest", data=folder, size=largest, **common)
    few, many = (
        copy.measured("tables", data=copy.root / f"tables-{images}", table_images=images, **common)
        for images in (settings.table_images, 2 * settings.table_images)
    )
    costs |= {name: few[0][name] / settings.table_images for name in few[0]}
    costs |= {f"{name}, twice": many[0][name] / (2 * settings.table_images) for name in many[0]}
    costs["table_memory"] = (many[1] - few[1]) / settings.table_images
    units = {}
    for name, experiment in experiments.items():
        found, memory = copy.measured(name, data=folder, size=experiment.image_size, **common)
        units[name] = found | {"memory": memory}
    localizers = max(1, len(experiments) - 1)
    costs |= copy.measured("fusing", size=localizers, **common)[0]
    return units, costs


# ------------------------------------------------------------------ tables in Markdown


def print_units(settings: Settings, experiments: dict, units: dict, costs: dict, job: Job) -> None:
    import keras

    device = ", ".join(keras.distribution.list_devices())
    print(f"\n### Unit costs: preset {settings.preset}, {job.train} + {job.test} images, {cores()} cores, {device}\n")
    table(["of one image", "seconds", "symbol"])
    row("ingest, on one core", f"{costs['ingest']:.5f}", "i")
    row("a look at the cache", f"{costs['verify']:.5f}", "v")
    for name, symbol in TABLES.items():
        seconds = f"{costs[name]:.2e}; {costs[f'{name}, twice']:.2e} at twice as many"
        row(f"table: {name}, of {settings.table_images:,} images", seconds, symbol)
    row("ensemble, a held-out image", f"{costs['fuse']:.5f} and {costs['fuse_fixed']:.1f} fixed", "u, U")
    print(
        f"\ncache: {costs['cache_bytes']:,.0f} bytes an image; tables: {costs['table_memory']:,.0f} bytes of memory\n"
    )
    table(
        ["member", "pixels", "start, s", "epoch, s", "trained, s", "looked at, s", "predicted, s", "memory", "weights"]
    )
    for name, unit in units.items():
        seconds = [f"{unit[key]:.4f}" for key in ("train", "look", "predict")]
        start = [f"{unit['start']:.1f}", f"{unit['of_epoch']:.2f}"]
        sizes = [gib(unit["memory"]), f"{unit['weights_bytes'] / 1e6:.1f} MB"]
        row(name, experiments[name].image_size, *start, *seconds, *sizes)


def print_checks(copy: Copy, settings: Settings, experiments: dict, units: dict, costs: dict, folders: dict) -> None:
    """The main job at every factor, predicted and measured. The first adds `job` and `table_bytes` to the costs."""
    print("\n### Predicted and measured: fold=0 of the whole job\n")
    table(["images", "seconds predicted", "measured", "memory predicted", "measured", "disk predicted", "measured"])
    largest, base = max(each.image_size for each in experiments.values()), 0.0
    for factor, folder in folders.items():
        competition = open_competition(folder)
        job = Job(len(competition.train_images), len(competition.test_images))
        result, seconds, memory = copy.job(folder, settings.preset, settings.ensemble)
        runs = copy.root / "runs" / result["dataset"]
        if factor == settings.factors[0]:
            costs["job"] = max(0.0, seconds - job_seconds(job, experiments, units, costs)[0])
            tables = sum(file.stat().st_size for file in runs.glob("*/fold0/*_*.csv"))
            costs["table_bytes"] = tables / (job.held_out + job.test)
            base, first = memory, job
        disk = sum(map(bytes_in, (runs, *(copy.root / "cache").glob(f"{folder.name}-*"))))
        grown = (job.train - first.train) * costs["table_memory"] + (job.images - first.images) * largest**2
        expected = job_seconds(job, experiments, units, costs)[0]
        shown = [f"{expected:.1f}", f"{seconds:.1f}", gib(base + grown), gib(memory)]
        own = "" if factor != settings.factors[0] else ", which J and b are from"
        row(f"{job.train} + {job.test}{own}", *shown, mb(disk_bytes(job, units, costs)), mb(disk))
    print(f"\nJ = {costs['job']:.1f} s, b = {costs['table_bytes']:,.0f} bytes of all members")


def print_larger(copy: Copy, settings: Settings, experiments: dict, units: dict, folder: Path) -> None:
    """A convolution's work grows as the square of the side, where the machine is busy with nothing else."""
    if settings.larger == 1:
        return
    print(f"\n### The image's side times {settings.larger}: seconds of an image times (square: {settings.larger**2})\n")
    table(["member", "pixels", "trained", "predicted", "memory"])
    for name, experiment in experiments.items():
        size = settings.larger * experiment.image_size
        words = {"data": folder, "size": size, "preset": settings.preset, "steps": settings.steps}
        found, memory = copy.measured(name, **words)
        ratios = [f"{found[key] / units[name][key]:.2f}" if units[name][key] else "-" for key in ("train", "predict")]
        row(name, f"{experiment.image_size} to {size}", *ratios, f"{gib(units[name]['memory'])} to {gib(memory)}")


def print_projection(settings: Settings, experiments: dict, units: dict, costs: dict, test_share: float) -> None:
    print(f"\n### The formulae with these unit costs: {N_FOLDS} folds, {settings.devices} devices like this one\n")
    table(["training images", "days", "device-hours", "cost", "folds", "a look at the cache", "tables", "disk"])
    for images in TARGETS:
        job = Job(images, round(test_share * images), N_FOLDS, settings.devices)
        seconds, runs = job_seconds(job, experiments, units, costs)
        cost = f"{runs / 3600 * settings.price:,.0f}" if settings.price else "-"
        looks = f"{job.images * costs['verify'] / 3600:,.2f} h a run"
        times = [f"{seconds / 86_400:,.2f}", f"{runs / 3600:,.1f}", cost, f"{images * costs['folds'] / 3600:,.2f} h"]
        row(f"{images:,}", *times, looks, gib(images * costs["table_memory"]), tb(disk_bytes(job, units, costs)))


def table(names: list[str]) -> None:
    row(*names)
    row(*["---"] * len(names))


def row(*cells) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def gib(count: float) -> str:
    return f"{count / 2**30:,.2f} GiB"


def mb(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def tb(count: float) -> str:
    return f"{count / 1e12:,.3f} TB"


if __name__ == "__main__":
    given = config.from_arguments(Settings, sys.argv[1:])
    of_one(given) if given.measure else main(given)
