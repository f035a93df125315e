"""Unit costs of the whole job, what they say of 1 x, 2 x and 4 x the demo's images, and what those runs then took.

    PYTHONPATH=src .venv/bin/python benchmarks/scale.py [preset=smoke] [images=60] [factors=[1,2,4]] [epochs=0]
                                      [steps=10] [larger=2] [projected=full] [devices=1] [price=0] [table_images=20000]

Prints in Markdown what docs/scale.md leaves open: unit costs (each measured in a process of its own, so that its memory
is its own), how training grows with the image's side, predicted beside measured for every factor, and the formulae of
docs/scale.md at the competition's size, at a million and at a hundred million images, from unit costs that are
measured again at the sizes of the preset `projected`. Everything runs in a copy of this program that has no cache and
no runs yet. Seconds are of the wall clock / of the processors: on a machine that others use the second are the check.

Only one figure is taken from what is then predicted: what the job costs beside its parts (its own start, tables,
report) is the rest of the run at 1 x. The runs at the other factors are predictions.

epochs: of every member in the runs that are checked, so that images cost more than start-up and all ends today.
price: of one hour of one device, in whatever currency; 0 prints device-hours only.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from pneumonia import config
from pneumonia.config import REPOSITORY
from pneumonia.data.cache import cached_size
from pneumonia.data.competition import open_competition
from pneumonia.demo.competition import SHARES, generate
from pneumonia.demo.folder import IMAGES
from pneumonia.jobs import local
from pneumonia.jobs.job import TrainJob, job_environment
from pneumonia.system.processes import count_cores
from scale_costs import N_FOLDS, TABLES, TARGETS, TEST_SHARE, Settings, bytes_in, of_one
from scale_formulae import Job, cached_sizes, disk_bytes, job_seconds, makespan

SLEEPS = [3, 6, 12]  # seconds of a fold's three runs, of which nothing but their order is checked
SHARING = (2, 4, 8)


class Copy:
    """A copy of this program with no cache and no runs."""

    def __init__(self, scratch: Path):
        self.root = scratch
        for name in ("src", "experiments", "benchmarks"):
            shutil.copytree(REPOSITORY / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.known: dict[str, tuple[dict, float]] = {}

    def set_epochs(self, name: str, preset: str, epochs: int) -> None:
        file = self.root / "experiments" / f"{name}.yaml"
        content = config.read_yaml(file)
        changed = {"epochs": epochs} if preset == "full" else {"presets": {preset: {"epochs": epochs}}}
        file.write_text(yaml.safe_dump(config.merge(content, changed)))

    def run(self, *command: str) -> tuple[dict, np.ndarray, float]:
        """The JSON of its last line, seconds (2,) of wall clock and processors, bytes of its largest process."""
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
        seconds = np.array([time.monotonic() - began, used.ru_utime + used.ru_stime])
        return json.loads(text.splitlines()[-1]), seconds, used.ru_maxrss * 1024

    def measured(self, measure: str, **changes) -> tuple[dict, float]:
        words = {**changes, "measure": measure, "began": time.time()}
        script = str(self.root / "benchmarks" / "scale.py")
        found, _, memory = self.run(script, *(f"{key}={value}" for key, value in words.items()))
        return {key: np.array(value) if isinstance(value, list) else value for key, value in found.items()}, memory

    def member(self, name: str, preset: str, size: int, steps: int, folder: Path) -> dict:
        """A member's unit costs at so many pixels; those of the same network in the same batches are measured once."""
        experiment = config.read_experiment(name, preset, {"image_size": size})
        key = repr((experiment.model, size, experiment.batch_size, experiment.augment, experiment.tta))
        if key not in self.known:
            found, memory = self.measured(name, data=folder, size=size, preset=preset, steps=steps)
            self.known[key] = found | {"memory": memory}
        return self.known[key]

    def job(self, folder: Path, preset: str, ensemble: str) -> tuple[dict, np.ndarray, float]:
        words = (f"data={folder}", f"preset={preset}", f"ensemble={ensemble}", "fold=0", "json=true")
        return self.run("-P", "-m", "pneumonia", *words)


def main(settings: Settings) -> None:
    ensemble = config.read_ensemble(settings.ensemble)
    changed = {"epochs": settings.epochs} if settings.epochs else {}
    experiments = {name: config.read_experiment(name, settings.preset, changed) for name in ensemble["members"]}
    projected = {name: config.read_experiment(name, settings.projected) for name in experiments}
    train, test = IMAGES[settings.preset]
    train, test = settings.images or train, test * (settings.images or train) // train
    with tempfile.TemporaryDirectory() as scratch:
        copy = Copy(Path(scratch) / "copy")
        for name in experiments if changed else ():
            copy.set_epochs(name, settings.preset, settings.epochs)
        folders = {
            factor: generate(Path(scratch) / f"demo-{factor}", factor * train, factor * test)
            for factor in settings.factors
        }
        first = folders[settings.factors[0]]
        costs = unit_costs(copy, settings, [experiments, projected], first)
        costs |= fusing_costs(copy, settings.preset, experiments)
        units = members(copy, settings, settings.preset, experiments, first)
        job = Job(settings.factors[0] * train, settings.factors[0] * test)
        print_units(settings, experiments, units, costs, job)
        shutil.rmtree(copy.root / "cache")  # the unit costs' own
        print_checks(copy, settings, experiments, units, costs, folders)
        print_larger(copy, settings, experiments, units, first)
        print_sharing(Path(scratch))
        units = members(copy, settings, settings.projected, projected, first)
        costs |= fusing_costs(copy, settings.projected, projected)
    print_projection(settings, projected, units, costs)


def members(copy: Copy, settings: Settings, preset: str, experiments: dict, folder: Path) -> dict:
    """{member: costs}, its memory among them. Larger images are measured in fewer steps."""
    units = {}
    for name, experiment in experiments.items():
        own = config.read_experiment(name, settings.preset).image_size
        steps = steps_at(settings, experiment.image_size / own)
        units[name] = copy.member(name, preset, experiment.image_size, steps, folder)
    return units


def steps_at(settings: Settings, larger: float) -> int:
    return max(1, round(settings.steps / max(1.0, larger) ** 2))


def unit_costs(copy: Copy, settings: Settings, ensembles: list[dict], folder: Path) -> dict:
    """What does not depend on the members, but for the sizes of the caches that they need."""
    sizes = sorted({size for experiments in ensembles for size in cached_sizes(experiments)})
    costs: dict = {"caches": {size: copy.measured("ingest", data=folder, size=size)[0] for size in sizes}}
    costs |= copy.measured("files", data=folder)[0]
    few, many = (
        copy.measured("tables", data=copy.root / f"tables-{images}", table_images=images)
        for images in (settings.table_images, 2 * settings.table_images)
    )
    costs |= {name: few[0][name] / settings.table_images for name in few[0]}
    costs |= {f"{name}, twice": many[0][name] / (2 * settings.table_images) for name in many[0]}
    costs["table_memory"] = (many[1] - few[1]) / settings.table_images
    return costs


def fusing_costs(copy: Copy, preset: str, experiments: dict) -> dict:
    return copy.measured("fusing", preset=preset, size=max(1, len(experiments) - 1))[0]


# ------------------------------------------------------------------ tables in Markdown


def print_units(settings: Settings, experiments: dict, units: dict, costs: dict, job: Job) -> None:
    device = next(iter(units.values()))["device"]
    images = f"{job.train} + {job.test} images"
    print(f"\n### Unit costs: preset {settings.preset}, {images}, {count_cores()} cores, {device}\n")
    table(["of one image", "seconds", "symbol"])
    for size, each in costs["caches"].items():
        row(f"ingest at {size} pixels, on one core", both(each["ingest"], 5), "i")
        row(f"a look at the cache of {size} pixels", both(each["verify"], 5), "v")
    row("the folder listed, sizes asked for", both(costs["open"], 6), "o")
    row("the header of an image with boxes", both(costs["header"], 6), "a")
    for name, symbol in TABLES.items():
        seconds = f"{both(costs[name], 7)}; {both(costs[f'{name}, twice'], 7)} at twice as many"
        row(f"table: {name}, of {settings.table_images:,} images", seconds, symbol)
    row("ensemble, a held-out image", f"{both(costs['fuse'], 5)} and {both(costs['fuse_fixed'], 1)} fixed", "u, U")
    sizes = ", ".join(f"{each['cache_bytes']:,.0f} at {size} pixels" for size, each in costs["caches"].items())
    print(f"\ncache, bytes an image: {sizes}; tables: {costs['table_memory']:,.0f} bytes of memory an image\n")
    print_members(experiments, units)


def print_members(experiments: dict, units: dict) -> None:
    table(
        ["member", "pixels", "start, s", "epoch, s", "trained, s", "looked at, s", "predicted, s", "memory", "weights"]
    )
    for name, unit in units.items():
        seconds = [both(unit[key], 4) for key in ("train", "look", "predict")]
        start = [both(unit["start"], 1), both(unit["of_epoch"], 2)]
        sizes = [gib(unit["memory"]), f"{unit['weights_bytes'] / 1e6:.1f} MB"]
        row(name, experiments[name].image_size, *start, *seconds, *sizes)


def print_checks(copy: Copy, settings: Settings, experiments: dict, units: dict, costs: dict, folders: dict) -> None:
    """The main job at every factor, predicted and measured. The first adds `job` and `table_bytes` to the costs."""
    epochs = ", ".join(f"{name} {each.epochs}" for name, each in experiments.items())
    print(f"\n### Predicted and measured: fold=0 of the whole job; epochs: {epochs}\n")
    pairs = [word for what in ("seconds", "memory", "disk") for word in (f"{what} predicted", "measured")]
    table(["images", "of images", *pairs])
    touched, base = cached_sizes(experiments)[-1] ** 2, 0.0
    for factor, folder in folders.items():
        competition = open_competition(folder)
        job = Job(len(competition.train_images), len(competition.test_images), positive=SHARES["opacity"])
        result, seconds, memory = copy.job(folder, settings.preset, settings.ensemble)
        runs = copy.root / "runs" / result["dataset"]
        if factor == settings.factors[0]:
            costs["job"] = np.maximum(0.0, seconds - job_seconds(job, experiments, units, costs)[0])
            tables = sum(file.stat().st_size for file in runs.glob("*/fold0/*_*.csv"))
            costs["table_bytes"] = tables / (job.held_out + job.test)
            base, first = memory, job
        disk = sum(map(bytes_in, (runs, *(copy.root / "cache").glob(f"{folder.name}-*"))))
        grown = (job.train - first.train) * costs["table_memory"] + (job.images - first.images) * touched
        expected = job_seconds(job, experiments, units, costs)[0]
        of_images = expected - job_seconds(Job(0, 0), experiments, units, costs)[0]
        shown = [both(of_images, 0), both(expected, 0), both(seconds, 0), gib(base + grown), gib(memory)]
        own = "" if factor != settings.factors[0] else ", which J and b are from"
        shown += [mb(disk_bytes(job, experiments, units, costs)), mb(disk)]
        row(f"{job.train} + {job.test}{own}", *shown)
    print(f"\nJ = {both(costs['job'], 1)} s, b = {costs['table_bytes']:,.0f} bytes of all members")


def print_larger(copy: Copy, settings: Settings, experiments: dict, units: dict, folder: Path) -> None:
    """A convolution's work grows as the square of the side, where the machine is busy with nothing else."""
    if settings.larger == 1:
        return
    print(f"\n### The image's side times {settings.larger}: seconds of an image times (square: {settings.larger**2})\n")
    table(["member", "pixels", "trained", "looked at", "predicted", "memory"])
    for name, experiment in experiments.items():
        size, steps = settings.larger * experiment.image_size, steps_at(settings, settings.larger)
        found = copy.member(name, settings.preset, size, steps, folder)
        ratios = [both(found[key] / units[name][key], 2) for key in ("train", "look", "predict")]
        memory = f"{gib(units[name]['memory'])} to {gib(found['memory'])}"
        row(name, f"{experiment.image_size} to {size}", *ratios, memory)


def print_sharing(scratch: Path) -> None:
    """The local executor's own order: runs that only sleep, on GPUs that are only names."""
    seconds = SLEEPS * N_FOLDS
    print(f"\n### {len(seconds)} runs of {', '.join(map(str, SLEEPS))} s on D devices that are only names\n")
    table(["D", "sum / D, s", "predicted, s", "measured, s"])
    for devices in SHARING:
        jobs = [
            TrainJob(f"run {number}", scratch / f"sleep-{devices}-{number}", ("/bin/sleep", str(each)))
            for number, each in enumerate(seconds)
        ]
        with visible(devices):
            began = time.monotonic()
            local.run(jobs, job_environment())
        took = time.monotonic() - began
        row(devices, f"{sum(seconds) / devices:.1f}", f"{makespan(seconds, devices):.1f}", f"{took:.1f}")


@contextlib.contextmanager
def visible(devices: int):
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(devices)))
    try:
        yield
    finally:
        del os.environ["CUDA_VISIBLE_DEVICES"]
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def print_projection(settings: Settings, experiments: dict, units: dict, costs: dict) -> None:
    """Days and cost are of the wall clock."""
    device = next(iter(units.values()))["device"]
    print(f"\n### The unit costs that the projection uses: preset {settings.projected} on {device}\n")
    print_members(experiments, units)
    fused = f"{both(costs['fuse'], 5)} and {both(costs['fuse_fixed'], 1)} fixed"
    print(f"\nensemble, a held-out image: {fused}")
    epochs = ", ".join(f"{name} {each.epochs}" for name, each in experiments.items())
    print(f"\n### The formulae with them: {N_FOLDS} folds, {settings.devices} x {device}; epochs: {epochs}\n")
    names = ["training images", "days", "hours of runs", "cost", "h, recipe", "h, folds once", "h, looks of all runs"]
    table([*names, "tables", "disk"])
    for images in TARGETS:
        job = Job(images, round(TEST_SHARE * images), N_FOLDS, settings.devices)
        seconds, runs = job_seconds(job, experiments, units, costs)
        cost = f"{runs[0] / 3600 * settings.price:,.0f}" if settings.price else "-"
        looks = sum(costs["caches"][cached_size(each.image_size)]["verify"] for each in experiments.values())
        parts = (images * costs["fuse"], images * costs["folds"], N_FOLDS * job.images * looks)
        sizes = [gib(images * costs["table_memory"]), tb(disk_bytes(job, experiments, units, costs))]
        hours = [both(each / 3600, 2) for each in parts]
        row(f"{images:,}", f"{seconds[0] / 86_400:,.1f}", both(runs / 3600, 0), cost, *hours, *sizes)


def table(names: list[str]) -> None:
    row(*names)
    row(*["---"] * len(names))


def row(*cells) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def both(seconds: np.ndarray, digits: int) -> str:
    """Wall clock / processors."""
    return " / ".join(f"{each:,.{digits}f}" for each in seconds)


def gib(count: float) -> str:
    return f"{count / 2**30:,.2f} GiB"


def mb(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def tb(count: float) -> str:
    return f"{count / 1e12:,.3f} TB"


if __name__ == "__main__":
    given = config.from_arguments(Settings, sys.argv[1:])
    of_one(given) if given.measure else main(given)
