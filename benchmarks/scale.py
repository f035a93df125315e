"""What the whole job costs on N devices, in hours and money, from what one image costs (docs/scale.md).

    PYTHONPATH=src .venv/bin/python benchmarks/scale.py runs=runs/DATASET [images=26684] [devices=[1,2,4,8]] [price=0]
    PYTHONPATH=src .venv/bin/python benchmarks/scale.py 'seconds={mobilenetv2: 0.004, ...}' ...

runs: the folder of a dataset's runs. A member's finished runs in `preset` say what training on one image costs: the
seconds of done.json, divided by the images of all epochs that metrics.jsonl lists. Start, inner losses and predictions
are in it, so that a run on few images gives too much, and one that went on after an interruption too little.
seconds: the same, given by hand; it wins over the runs.
"""

import heapq
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pneumonia import config, schema
from pneumonia.data.cache import cached_size
from pneumonia.runs.history import read_history
from pneumonia.runs.run import Run, experiment_of
from pneumonia.schema import setting
from pneumonia.system.errors import bad_input
from pneumonia.system.processes import count_cores


@dataclass
class Settings:
    images: int = setting(26_684, "training images", low=1)
    test_images: int = setting(3_000, "test images", low=0)
    ensemble: str = setting("default", "experiments/ensembles/NAME.yaml: its members are trained")
    preset: str = setting("full", "of the members: their epochs and image sizes")
    n_folds: int = setting(5, "of the fold table", low=2)
    folds: int = setting(5, "that are trained", low=1)
    devices: list[int] = field(default_factory=lambda: [1, 2, 4, 8])  # one line of the table for each
    runs: str = setting("", "runs/DATASET: finished runs that say what an image costs")
    seconds: dict[str, float] = field(default_factory=dict)  # {member: to train on one image once, on one device}
    ingest: float = setting(0.0018, "seconds to ingest an image at one size on one core; benchmarks/ingest.py", low=0)
    recipe: float = setting(0.003, "seconds of the recipe's search for a held-out image, on one core", low=0)
    price: float = setting(0.0, "of a device-hour; every device is paid until the job ends", low=0)


def images_trained(experiment: schema.Experiment, training: float) -> float:
    """Images that all epochs train on, `training` images being of the other folds."""
    of_epoch = experiment.sampling.images or (1 - experiment.inner_val_fraction) * training
    return experiment.epochs * of_epoch


def measured_seconds(folder: Path, name: str, preset: str) -> float | None:
    """Seconds for each image trained on, from the member's finished runs in a dataset's folder; None without any."""
    label = config.experiment_label(name, preset, config.read_experiment(name, preset))
    runs = [Run(each.parent) for each in sorted(folder.glob(f"{label}/fold[0-9]*/done.json"))]
    seconds = images = 0.0
    for run in runs:
        experiment, epochs = experiment_of(run), len(read_history(run.folder))
        fold = pd.read_csv(run.start()["prepared"]["folds"], dtype=str)["fold"]
        training = int((fold.str.isdigit() & (fold != str(run.fold))).sum())
        seconds += run.done()["seconds"]
        images += images_trained(experiment, training) * epochs / experiment.epochs
    return seconds / images if runs else None


def hours_of_runs(settings: Settings, experiments: dict[str, schema.Experiment]) -> list[float]:
    """Hours of every run, in the order in which the job starts them: the members of one fold, then of the next.

    Raises:
        BadInput: neither `seconds` nor `runs` says what a member costs.
    """
    hours, training = [], settings.images * (1 - 1 / settings.n_folds)
    for name, experiment in experiments.items():
        seconds = settings.seconds.get(name)
        if seconds is None and settings.runs:
            seconds = measured_seconds(config.user_path(settings.runs), name, settings.preset)
        if seconds is None:
            what = f"nothing says what an image costs {name} at preset {settings.preset}"
            raise bad_input("seconds", what, f"give seconds={{{name}: ...}}, or runs= with a finished run of it")
        hours.append(seconds * images_trained(experiment, training) / 3600)
    return hours * settings.folds


def until_last_ends(hours: Iterable[float], devices: int) -> float:
    """Hours until the last run ends, where each takes the first device that is free, in this order."""
    free = [0.0] * devices
    for each in hours:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def lines_of(settings: Settings) -> list[str]:
    """The table, and what the job needs beside its devices."""
    members = config.read_ensemble(settings.ensemble)["members"]
    experiments = {name: config.read_experiment(name, settings.preset) for name in members}
    hours = hours_of_runs(settings, experiments)
    sizes = sorted({cached_size(each.image_size) for each in experiments.values()})
    every = settings.images + settings.test_images
    ingest = settings.ingest * every * len(sizes) / count_cores() / 3600
    recipe = settings.recipe * settings.images * settings.folds / settings.n_folds / 3600
    images = f"{settings.images:,} + {settings.test_images:,} images, preset {settings.preset}"
    lines = [f"{images}: {len(hours)} runs of together {sum(hours):,.2f} device-hours"]
    lines += ["", "| devices | hours | cost |", "|---|---|---|"]
    for devices in settings.devices:
        whole = ingest + until_last_ends(hours, devices) + recipe
        cost = f"{settings.price * devices * whole:,.2f}" if settings.price else "-"
        lines.append(f"| {devices} | {whole:,.2f} | {cost} |")
    lines += [
        "",
        f"of it without a device: ingest {ingest:.2f} h on {count_cores()} cores, recipe {recipe:.2f} h on one",
    ]
    pixels = " + ".join(f"{every * size**2 / 1e9:,.1f} GB ({size} px)" for size in sizes)
    return [*lines, f"image caches: {pixels}"]


if __name__ == "__main__":
    print("\n".join(lines_of(config.from_arguments(Settings, sys.argv[1:]))))
