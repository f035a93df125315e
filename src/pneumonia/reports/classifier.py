"""Evaluate a classifier on its held-out images."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from pneumonia import config
from pneumonia.metrics import calibration
from pneumonia.metrics.auc import auc, auc_interval
from pneumonia.metrics.classification import average_precision_interval, cross_fit_thresholds, per_class
from pneumonia.metrics.intervals import mean_interval
from pneumonia.metrics.subgroups import subgroups
from pneumonia.reports.classifier_page import build_page, summary
from pneumonia.reports.held_out import Evaluation, HeldOut, read_held_out
from pneumonia.reports.numbers import json_interval
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput
from pneumonia.system.json_values import without_nan


def evaluate(held_out: HeldOut, draws: int, seed: int) -> Evaluation:
    """Measure everything about a classifier on its held-out images."""
    result = without_nan(measure(held_out, draws, seed))
    return Evaluation(result, summary(result), build_page(held_out, result))


def measure(held_out: HeldOut, draws: int, seed: int) -> dict:
    """Return all measures as JSON values; intervals are {value, low, high}, 95 %, by bootstrap over people."""
    table, people = held_out.table, held_out.people
    labels, scores = table["target"].to_numpy(), table["opacity"].to_numpy()
    predicted, thresholds = cross_fit_thresholds(labels, scores, held_out.parts())
    return {
        **held_out.as_json(),
        "auc": json_interval(auc_interval(labels, scores, people, draws, seed)),
        "average_precision": json_interval(average_precision_interval(labels, scores, people, draws, seed)),
        "brier": json_interval(mean_interval(calibration.brier_scores(labels, scores), people, draws, seed)),
        "calibration_error": calibration.calibration_error(labels, scores),
        "at_half": class_measures(labels, scores >= 0.5, people, draws, seed),
        "at_cross_fitted_threshold": class_measures(labels, predicted, people, draws, seed)
        | {"thresholds": {str(part): value for part, value in thresholds.items()}},
        "subgroups": [
            {
                "of": column,
                "is": value,
                "images": int(rows.sum()),
                "people": len(np.unique(people[rows])),
                "positives": int(labels[rows].sum()),
                "auc": json_interval(auc_interval(labels[rows], scores[rows], people[rows], draws, seed)),
            }
            for column, value, rows in subgroups(table)
        ],
        "auc_of_folds": {str(fold): auc(labels[rows], scores[rows]) for fold, rows in rows_of_folds(table)},
        "auc_of_seeds": auc_of_seeds(held_out),
    }


def class_measures(labels: np.ndarray, predicted: np.ndarray, people: np.ndarray, draws: int, seed: int = 0) -> dict:
    """Return precision, recall and F1 of each class, the confusion matrix, and accuracy with its interval.

    Args:
        labels, predicted: (n,) 0 or 1, true and predicted.
        people: (n,) person of each image.
    """
    is_correct = (labels == predicted).astype(np.float64)
    accuracy = json_interval(mean_interval(is_correct, people, draws, seed))
    return per_class(labels, predicted) | {"accuracy": accuracy}


def rows_of_folds(table: pd.DataFrame) -> Iterator[tuple[object, np.ndarray]]:
    """Yield each fold with its rows, (n,) bool."""
    for fold in table["fold"].unique():
        yield fold, (table["fold"] == fold).to_numpy()


def auc_of_seeds(held_out: HeldOut) -> dict[str, float]:
    """Return {seed: AUC of the first fold} of the runs that differ from it only in the seed; empty if there are none.

    The folds have their own seed, so the AUCs differ because of training alone.
    """
    first = held_out.runs[0]
    first_settings = config.read_yaml(first.settings_file)
    values = {}
    for folder in sorted(first.folder.parent.parent.glob(f"*/{first.folder.name}")):
        other = Run(folder)
        if not other.is_done or not (folder / "held_out.csv").is_file():
            continue
        try:
            settings = config.read_yaml(other.settings_file)
            changed = set(config.difference(first_settings, settings))
            if changed <= {"seed"} and other.done()["kind"] == held_out.kind:
                table = read_held_out(str(folder)).table
                values[str(settings["seed"])] = auc(table["target"].to_numpy(), table["opacity"].to_numpy())
        except BadInput:
            continue  # a damaged run beside this one
    return values if len(values) > 1 else {}
