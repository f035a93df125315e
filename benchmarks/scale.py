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
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pneumonia import config, schema
from pneumonia.config import REPOSITORY
from pneumonia.data.competition import open_competition
from pneumonia.data.demo import IMAGES
from pneumonia.data.ingest import WORTH_A_PROCESS, cores
from pneumonia.data.phantom import generate
from scale_costs import IN_EVERY_RUN, N_FOLDS, TABLES, TARGETS, Settings, bytes_in, of_one

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
