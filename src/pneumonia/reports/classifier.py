"""Evaluation of a classifier on its held-out images: measured, printed, and written as JSON and as a page."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from pneumonia import config
from pneumonia.metrics import calibration
from pneumonia.metrics.classification import (
    auc,
    auc_interval,
    average_precision_interval,
    cross_fit_thresholds,
    per_class,
)
from pneumonia.metrics.intervals import mean_interval
from pneumonia.metrics.subgroups import subgroups
from pneumonia.reports.classifier_page import as_page, summary
from pneumonia.reports.evaluated import Evaluated, read_evaluated
from pneumonia.reports.numbers import json_interval
from pneumonia.runs.run import Run
from pneumonia.system.files import atomic_write, write_json
from pneumonia.system.json_values import without_nan


def evaluate(evaluated: Evaluated, draws: int, seed: int) -> dict:
    """Measure, print, and write evaluation.json and evaluation.html into the run's (or experiment's) folder."""
    result = without_nan(measure(evaluated, draws, seed))
    print(summary(result))
    write_json(evaluated.folder / "evaluation.json", result)
    with atomic_write(evaluated.folder / "evaluation.html") as file:
        file.write(as_page(evaluated, result))
    print(f"\npage        {evaluated.folder / 'evaluation.html'}")
    return result | {"page": evaluated.folder / "evaluation.html"}


def measure(evaluated: Evaluated, draws: int, seed: int) -> dict:
    """Everything as nested plain values; intervals are {value, low, high}, 95 %, by bootstrap over people."""
    table, people = evaluated.table, evaluated.people
    labels, scores = table["target"].to_numpy(), table["opacity"].to_numpy()
    predicted, thresholds = cross_fit_thresholds(labels, scores, evaluated.parts())
    return {
        **evaluated.described(),
        "auc": json_interval(auc_interval(labels, scores, people, draws, seed)),
        "average_precision": json_interval(average_precision_interval(labels, scores, people, draws, seed)),
        "brier": json_interval(mean_interval(calibration.brier_scores(labels, scores), people, draws, seed)),
        "calibration_error": calibration.calibration_error(labels, scores),
        "at_half": class_measures(labels, scores >= 0.5, people, draws, seed),
        "at_cross_fitted_threshold": class_measures(labels, predicted, people, draws, seed)
        | {"thresholds": {str(part): value for part, value in thresholds.items()}},
        "subgroups": [
            {
                "of": what,
                "is": value,
                "images": int(own.sum()),
                "people": len(np.unique(people[own])),
                "positives": int(labels[own].sum()),
                "auc": json_interval(auc_interval(labels[own], scores[own], people[own], draws, seed)),
            }
            for what, value, own in subgroups(table)
        ],
        "auc_of_folds": {str(fold): auc(labels[own], scores[own]) for fold, own in rows_of_folds(table)},
        "auc_of_seeds": auc_of_seeds(evaluated),
    }


def class_measures(labels: np.ndarray, predicted: np.ndarray, people: np.ndarray, draws: int, seed: int = 0) -> dict:
    """Precision, recall and F1 of each class, the confusion matrix, and accuracy with its interval.

    Args:
        labels, predicted: (n,) 0 or 1, true and predicted.
        people: (n,) person of each image.
    """
    is_right = (labels == predicted).astype(np.float64)
    accuracy = json_interval(mean_interval(is_right, people, draws, seed))
    return per_class(labels, predicted) | {"accuracy": accuracy}


def rows_of_folds(table: pd.DataFrame) -> Iterator[tuple[object, np.ndarray]]:
    """Each fold with (n,) bool: which rows are its own."""
    for fold in table["fold"].unique():
        yield fold, (table["fold"] == fold).to_numpy()


def auc_of_seeds(evaluated: Evaluated) -> dict[str, float]:
    """{seed: AUC of the first of these folds} of runs beside it that differ from it in nothing but the seed: the folds
    have a seed of their own, so that what spreads is the training."""
    first = evaluated.runs[0]
    own = config.read_yaml(first.settings_file)
    values = {}
    for folder in sorted(first.folder.parent.parent.glob(f"*/{first.folder.name}")):
        other = Run(folder)
        if not other.is_marked or not (folder / "held_out.csv").is_file():
            continue
        settings = config.read_yaml(other.settings_file)
        changed = set(config.difference(own, settings))
        if other.done()["kind"] == evaluated.kind and changed <= {"seed"}:
            table = read_evaluated(str(folder)).table
            values[str(settings["seed"])] = auc(table["target"].to_numpy(), table["opacity"].to_numpy())
    return values if len(values) > 1 else {}
