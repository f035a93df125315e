"""Held-out score and AUC of two ensembles on the same folds, and their paired differences.

    PYTHONPATH=src .venv/bin/python benchmarks/compare_ensembles.py runs=runs/DATASET preset=quick
        ensembles=[cpu,demo] [folds=[0,1]]

It reads the finished runs of both ensembles' members and trains nothing. Each recipe is fitted and scored by nested
cross-validation, as the main job does it; intervals are over people. docs/results.md has what it printed.
"""

import sys
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from compare_experiments import held_out_images
from pneumonia import config
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.commands.submission import TRIALS
from pneumonia.ensemble.nested import FitResult, fit_nested, problem_of
from pneumonia.ensemble.recipe import recipe_of
from pneumonia.ensemble.tune import Search
from pneumonia.metrics.auc import auc_difference_interval
from pneumonia.metrics.intervals import difference_interval, people_of
from pneumonia.metrics.iou_map import Truth
from pneumonia.reports.numbers import interval_text, json_interval
from pneumonia.runs.run import Run
from pneumonia.runs.tables import held_out_tables, of_type
from pneumonia.schema import setting


@dataclass
class Settings:
    runs: str = setting("", "folder of the data set's runs")
    preset: str = setting("quick", "of the runs", choices=("smoke", "quick", "full"))
    ensembles: list[str] = field(default_factory=lambda: ["demo", "cpu"], metadata={"help": "two names"})
    folds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "of each member"})


def fit(ensemble: str, settings: Settings, images: pd.DataFrame, truth: Truth) -> FitResult:
    """Return the nested fit, its scores and probabilities in the order of `images`."""
    tables = held_out_tables(runs_of(ensemble, settings))
    tables = {name: table.select(list(images.index)) for name, table in tables.items()}
    localizers, classifiers = of_type(tables, Detections), of_type(tables, ClassProbabilities)
    problem = problem_of(localizers, classifiers, truth, images["group"].to_dict())
    start = recipe_of(config.read_ensemble(ensemble).get("recipe") or {}, ensemble)
    return fit_nested(problem, start, Search(TRIALS[settings.preset], title=ensemble))


def runs_of(ensemble: str, settings: Settings) -> dict[str, list[Run]]:
    root = config.user_path(settings.runs)
    members = config.read_ensemble(ensemble)["members"]
    return {name: [Run(root / f"{name}-{settings.preset}" / f"fold{k}") for k in settings.folds] for name in members}


def main(settings: Settings) -> None:
    images = held_out_images(next(iter(runs_of(settings.ensembles[0], settings).values())))
    truth = Truth.from_lists(images.index, [np.array(text.split(), float).reshape(-1, 4) for text in images["boxes"]])
    people, positive = people_of(list(images.index), images["group"].to_dict()), truth.positive
    results = [fit(ensemble, settings, images, truth) for ensemble in settings.ensembles]
    for ensemble, result in zip(settings.ensembles, results):
        score, area = (interval_text(json_interval(interval)) for interval in (result.nested, result.auc))
        print(f"{ensemble}: score {score}, AUC {area}")
    first, second = results
    score = difference_interval(first.scores, second.scores, people)
    area = auc_difference_interval(positive, first.probabilities, second.probabilities, people)
    text = f"score {interval_text(json_interval(score))}, AUC {interval_text(json_interval(area))}"
    print(f"{' - '.join(settings.ensembles)}, paired: {text}")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
