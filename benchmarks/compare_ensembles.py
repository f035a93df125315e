"""Held-out score and AUC of two ensembles on the same folds, and their paired differences.

    PYTHONPATH=src .venv/bin/python benchmarks/compare_ensembles.py runs=runs/DATASET preset=quick
        ensembles=[cpu,demo] [folds=[0,1]]

It reads the finished runs of both ensembles' members and trains nothing. Each recipe is fitted and scored by nested
cross-validation, as the main job does it; intervals are over people. docs/results.md has what it printed.
"""

import sys
from dataclasses import dataclass, field

import numpy as np

from compare_experiments import held_out_images
from pneumonia import config
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.commands.submission import TRIALS
from pneumonia.ensemble.nested import FitResult, fit_nested, problem_of
from pneumonia.ensemble.recipe import recipe_of
from pneumonia.ensemble.tune import Search
from pneumonia.metrics.auc import auc, auc_interval, weighted_auc
from pneumonia.metrics.intervals import (
    DRAWS,
    difference_interval,
    mean_interval,
    people_of,
    percentile_interval,
    person_draws,
)
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


def fit(ensemble: str, runs: dict[str, list[Run]], truth: Truth, groups: dict, preset: str) -> FitResult:
    tables = held_out_tables(runs)
    problem = problem_of(of_type(tables, Detections), of_type(tables, ClassProbabilities), truth, groups)
    start = recipe_of(config.read_ensemble(ensemble).get("recipe") or {}, ensemble)
    return fit_nested(problem, start, Search(TRIALS[preset], title=ensemble))


def auc_difference(positive: np.ndarray, first: np.ndarray, second: np.ndarray, people: np.ndarray):
    draws = [
        weighted_auc(positive, first, weights[:, people]) - weighted_auc(positive, second, weights[:, people])
        for weights in person_draws(people.max() + 1, DRAWS, 0)
    ]
    return percentile_interval(auc(positive, first) - auc(positive, second), np.concatenate(draws))


def main(settings: Settings) -> None:
    root = config.user_path(settings.runs)
    results, scores, confidences = {}, [], []
    for ensemble in settings.ensembles:
        members = config.read_ensemble(ensemble)["members"]
        runs = {
            name: [Run(root / f"{name}-{settings.preset}" / f"fold{k}") for k in settings.folds] for name in members
        }
        images = held_out_images(next(iter(runs.values()))).sort_index()
        truth = Truth.from_lists(
            images.index, [np.array(text.split(), float).reshape(-1, 4) for text in images["boxes"]]
        )
        results[ensemble] = fit(ensemble, runs, truth, images["group"].to_dict(), settings.preset)
    people, positive = people_of(list(images.index), images["group"].to_dict()), truth.positive
    for ensemble, result in results.items():
        order = np.argsort(result.detections.ids)
        scores.append(result.scores[order])
        confidences.append(result.confidences[order])
        score, area = mean_interval(scores[-1], people), auc_interval(positive, confidences[-1], people)
        print(f"{ensemble}: score {interval_text(json_interval(score))}, AUC {interval_text(json_interval(area))}")
    difference = difference_interval(*scores, people), auc_difference(positive, *confidences, people)
    score, area = (interval_text(json_interval(each)) for each in difference)
    print(f"{' - '.join(results)}, paired: score {score}, AUC {area}")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
