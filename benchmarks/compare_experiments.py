"""Held-out score and AUC of localizers, fold by fold, their paired difference, and the AUC of their outputs together.

    PYTHONPATH=src .venv/bin/python benchmarks/compare_experiments.py runs=runs/DATASET experiments=[A,B] [folds=[0,1]]

It reads finished runs and trains nothing. Scores are the competition's, with thresholds fitted on other people;
intervals are over people. The logistic regressions are fitted on other people too: on the logits of each experiment's
highest confidence and of its output for the whole image, and with view, age and sex. docs/results.md has what it
printed.
"""

import sys
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from pneumonia import config
from pneumonia.boxes.predictions import Detections
from pneumonia.ensemble.nested import cross_fit_alone, problem_of
from pneumonia.metrics.auc import auc_difference_interval
from pneumonia.metrics.intervals import difference_interval, mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.reports.numbers import interval_text, json_interval
from pneumonia.runs.run import Run
from pneumonia.runs.tables import held_out_tables
from pneumonia.schema import setting

TEXT = dict.fromkeys(("patientId", "group", "sex", "view", "boxes"), str)


@dataclass
class Settings:
    runs: str = setting("", "folder of the data set's runs")
    experiments: list[str] = field(default_factory=list, metadata={"help": "names with the preset; two are compared"})
    folds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "of each experiment"})


def held_out_images(runs: list[Run]) -> pd.DataFrame:
    tables = [
        pd.read_csv(run.folder / "held_out.csv", dtype=TEXT, keep_default_na=False, na_values={"age": [""]})
        for run in runs
    ]
    return pd.concat(tables).set_index("patientId")


def outputs_of(tables: dict, ids: list[str]) -> pd.DataFrame:
    """Return the highest confidence, and the probability of the output for the whole image, of each experiment."""
    columns = {}
    for name, table in tables.items():
        table = table.select(ids)
        is_boxes = isinstance(table, Detections)
        best = [table.image(row)[1].max(initial=0.0) for row in range(len(table))] if is_boxes else table.opacity
        columns[f"{name}, highest confidence" if is_boxes else name] = best
    return pd.DataFrame(columns, index=ids)


def cross_fitted_auc(features: pd.DataFrame, images: pd.DataFrame) -> float:
    target, predicted = images["target"].to_numpy(), np.zeros(len(images))
    for fitted, scored in GroupKFold(5).split(features, groups=images["group"]):
        model = LogisticRegression().fit(features.iloc[fitted], target[fitted])
        predicted[scored] = model.predict_proba(features.iloc[scored])[:, 1]
    return roc_auc_score(target, predicted)


def main(settings: Settings) -> None:
    root = config.user_path(settings.runs)
    runs = {name: [Run(root / name / f"fold{fold}") for fold in settings.folds] for name in settings.experiments}
    images = held_out_images(next(iter(runs.values())))
    ids, groups = images.index.tolist(), images["group"].to_dict()
    people = people_of(ids, groups)
    truth = Truth.from_lists(ids, [np.array(text.split(), float).reshape(-1, 4) for text in images["boxes"]])
    tables = held_out_tables(runs)
    scores = {}
    for name in settings.experiments:
        problem = problem_of({"": tables[name].select(ids)}, {}, truth, groups)
        scores[name] = image_scores(truth, cross_fit_alone(problem, seed=0))
        print(f"{name}: score {interval_text(json_interval(mean_interval(scores[name], people)))}")
    if len(scores) == 2:
        first, second = scores.values()
        print(f"paired difference {interval_text(json_interval(difference_interval(second, first, people)))}")
    outputs = outputs_of(tables, ids)
    for name, column in outputs.items():
        of_folds = [roc_auc_score(rows["target"], column.loc[rows.index]) for _, rows in images.groupby("fold")]
        text = ", ".join(f"{value:.3f}" for value in of_folds)
        print(f"{name}: AUC {roc_auc_score(images['target'], column):.3f}; of each fold {text}")
    for kind in (", highest confidence", ":image"):
        pair = [outputs[name + kind].to_numpy() for name in settings.experiments if name + kind in outputs]
        if len(pair) == 2:
            difference = auc_difference_interval(images["target"].to_numpy(), pair[1], pair[0], people)
            print(f"paired difference{kind}: AUC {interval_text(json_interval(difference))}")
    logits = logit(outputs.clip(1e-4, 1 - 1e-4))
    best = logits[[name for name in logits if name.endswith("confidence")]]
    person = pd.DataFrame(
        {"AP": images["view"] == "AP", "M": images["sex"] == "M", "age": images["age"].fillna(50) / 100}
    )
    person = person.astype(float)
    together = {
        "all outputs": logits, "highest confidences": best, "all outputs, view, age and sex": logits.join(person),
        "view alone": person[["AP"]],
    }  # fmt: skip
    for name, features in together.items():
        print(f"logistic regression, {name}: AUC {cross_fitted_auc(features, images):.3f}")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
