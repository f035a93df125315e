"""Hours and cost of the whole job on N devices, from the seconds that training on one image takes (docs/scale.md).

    PYTHONPATH=src .venv/bin/python benchmarks/scale.py runs=runs/DATASET [images=26684] [devices=[1,2,4,8]] [price=0]
    PYTHONPATH=src .venv/bin/python benchmarks/scale.py 'seconds={mobilenetv2: 0.004, ...}' ...

runs: the folder of a dataset's runs. A member's finished runs in `preset` give the seconds for one image: the seconds
of done.json, divided by the images of all epochs in metrics.jsonl. They include start, inner losses and predictions, so
that a run on few images gives too much, and a run that was interrupted and resumed too little.
seconds: the same, given by hand; it takes precedence over the runs.

No machine is measured here; docs/scale.md has an example.
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
    ensemble: str = setting("demo", "experiments/ensembles/NAME.yaml: its members are trained")
    preset: str = setting("full", "of the members: their epochs and image sizes")
    n_folds: int = setting(5, "of the fold table", low=2)
    folds: int = setting(5, "that are trained", low=1)
    devices: list[int] = field(default_factory=lambda: [1, 2, 4, 8])  # one line of the table for each
    runs: str = setting("", "runs/DATASET: finished runs that give the seconds for an image")
    seconds: dict[str, float] = field(default_factory=dict)  # {member: to train on one image once, on one device}
    ingest: float = setting(0.0018, "seconds to ingest an image at one size on one core; benchmarks/ingest.py", low=0)
    recipe: float = setting(0.003, "seconds of the recipe's search for a held-out image, on one core", low=0)
    price: float = setting(0.0, "of a device-hour; every device is paid until the job ends", low=0)


def images_trained(experiment: schema.Experiment, training: float) -> float:
    """Return the number of images that all epochs train on; `training`: images of the training folds."""
    of_epoch = experiment.sampling.images or (1 - experiment.inner_val_fraction) * training
    return experiment.epochs * of_epoch


def measured_seconds(folder: Path, name: str, preset: str) -> float | None:
    """Return seconds per trained image from the member's finished runs in a dataset's folder; None without any."""
    label = config.experiment_label(name, preset, config.read_experiment(name, preset))
    runs = [Run(marker.parent) for marker in sorted(folder.glob(f"{label}/fold[0-9]*/done.json"))]
    seconds = images = 0.0
    for run in runs:
        experiment, epochs = experiment_of(run), len(read_history(run.folder))
        fold = pd.read_csv(run.start()["prepared"]["folds"], dtype=str)["fold"]
        training = int((fold.str.isdigit() & (fold != str(run.fold))).sum())
        seconds += run.done()["seconds"]
        images += images_trained(experiment, training) * epochs / experiment.epochs
    return seconds / images if runs else None


def hours_of_runs(settings: Settings, experiments: dict[str, schema.Experiment]) -> list[float]:
    """Return hours of every run, in the order in which the job starts them: the members of one fold, then of the next.

    Raises:
        BadInput: neither `seconds` nor `runs` has the time of a member.
    """
    hours, training = [], settings.images * (1 - 1 / settings.n_folds)
    for name, experiment in experiments.items():
        seconds = settings.seconds.get(name)
        if seconds is None and settings.runs:
            seconds = measured_seconds(config.user_path(settings.runs), name, settings.preset)
        if seconds is None:
            what = f"has no time per image of {name} at preset {settings.preset}"
            raise bad_input("seconds", what, f"give seconds={{{name}: ...}}, or runs= with a finished run of it")
        hours.append(seconds * images_trained(experiment, training) / 3600)
    return hours * settings.folds


def until_last_ends(hours: Iterable[float], devices: int) -> float:
    """Return hours until the last run ends, if each takes the first device that is free, in this order."""
    free_at = [0.0] * devices
    for run_hours in hours:
        heapq.heapreplace(free_at, free_at[0] + run_hours)
    return max(free_at)


def lines_of(settings: Settings) -> list[str]:
    """Return the table of devices, hours and cost, and lines about the job's own work and its caches."""
    members = config.read_ensemble(settings.ensemble)["members"]
    experiments = {name: config.read_experiment(name, settings.preset) for name in members}
    hours = hours_of_runs(settings, experiments)
    sizes = sorted({cached_size(experiment.image_size) for experiment in experiments.values()})
    all_images = settings.images + settings.test_images
    ingest = settings.ingest * all_images * len(sizes) / count_cores() / 3600
    recipe = settings.recipe * settings.images * settings.folds / settings.n_folds / 3600
    images = f"{settings.images:,} + {settings.test_images:,} images, preset {settings.preset}"
    lines = [f"{images}: {len(hours)} runs, together {sum(hours):,.2f} device-hours"]
    lines += ["", "| devices | hours | cost |", "|---|---|---|"]
    for devices in settings.devices:
        total = ingest + until_last_ends(hours, devices) + recipe
        cost = f"{settings.price * devices * total:,.2f}" if settings.price else "-"
        lines.append(f"| {devices} | {total:,.2f} | {cost} |")
    lines += [
        "",
        f"without a device: ingest {ingest:.2f} h on {count_cores()} cores, recipe {recipe:.2f} h on one",
    ]
    pixels = " + ".join(f"{all_images * size**2 / 1e9:,.1f} GB ({size} px)" for size in sizes)
    return [*lines, f"image caches: {pixels}"]


if __name__ == "__main__":
    print("\n".join(lines_of(config.from_arguments(Settings, sys.argv[1:]))))
