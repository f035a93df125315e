"""Evaluation of a classifier on its held-out images: figures to print, to compare, and a page to look at."""

import math

import numpy as np
import pandas as pd

from pneumonia import config
from pneumonia.metrics import calibration
from pneumonia.metrics.classification import (
    auc,
    auc_interval,
    average_precision_interval,
    cross_fitted,
    per_class,
)
from pneumonia.metrics.intervals import Interval, mean_interval
from pneumonia.metrics.subgroups import subgroups
from pneumonia.reports import classifier_figures as figures
from pneumonia.reports import page
from pneumonia.reports.evaluated import Evaluated
from pneumonia.reports.grad_cam_gallery import looked_at
from pneumonia.runs.history import read_history
from pneumonia.system.files import atomic_write, read_json, without_nan, write_json


def evaluate(found: Evaluated, draws: int, seed: int) -> dict:
    """Measure, print, and write evaluation.json and evaluation.html into the run's (or experiment's) folder."""
    result = measure(found, draws, seed)
    print(summary(result))
    write_json(found.folder / "evaluation.json", without_nan(result))
    with atomic_write(found.folder / "evaluation.html") as file:
        file.write(as_page(found, result))
    print(f"\npage        {found.folder / 'evaluation.html'}")
    return without_nan(result) | {"page": found.folder / "evaluation.html"}


def measure(found: Evaluated, draws: int, seed: int) -> dict:
    """Everything as nested plain values; intervals are {value, low, high}, 95 %, by bootstrap over people."""
    table, people = found.table, found.people
    labels, scores = table["target"].to_numpy(), table["opacity"].to_numpy()
    called, thresholds = cross_fitted(labels, scores, found.parts())
    return {
        **found.described(),
        "auc": interval(auc_interval(labels, scores, people, draws, seed)),
        "average_precision": interval(average_precision_interval(labels, scores, people, draws, seed)),
        "brier": interval(mean_interval(calibration.brier_scores(labels, scores), people, draws, seed)),
        "calibration_error": calibration.calibration_error(labels, scores),
        "at_half": at(labels, scores >= 0.5, people, draws, seed),
        "at_cross_fitted_threshold": at(labels, called, people, draws, seed)
        | {"thresholds": {str(part): value for part, value in thresholds.items()}},
        "subgroups": [
            {
                "of": what,
                "is": value,
                "images": int(own.sum()),
                "people": len(np.unique(people[own])),
                "positives": int(labels[own].sum()),
                "auc": interval(auc_interval(labels[own], scores[own], people[own], draws, seed)),
            }
            for what, value, own in subgroups(table)
        ],
        "auc_of_folds": {str(fold): auc(labels[own], scores[own]) for fold, own in by_fold(table)},
        "auc_of_seeds": auc_of_seeds(found),
    }


def at(labels: np.ndarray, called: np.ndarray, people: np.ndarray, draws: int, seed: int) -> dict:
    right = (labels == called).astype(np.float64)
    return per_class(labels, called) | {"accuracy": interval(mean_interval(right, people, draws, seed))}


def by_fold(table: pd.DataFrame):
    for fold in table["fold"].unique():
        yield fold, (table["fold"] == fold).to_numpy()


def auc_of_seeds(found: Evaluated) -> dict[str, float]:
    """{seed: AUC of the first of these folds} of runs beside it that differ from it in nothing but the seed: the folds
    have a seed of their own, so that what spreads is the training."""
    from pneumonia.reports.evaluated import read_evaluated

    first = found.runs[0]
    own = config.read_yaml(first.folder / "config.yaml")
    values = {}
    for other in sorted(first.folder.parent.parent.glob(f"*/{first.folder.name}")):
        if not (other / "done.json").is_file() or not (other / "held_out.csv").is_file():
            continue
        settings = config.read_yaml(other / "config.yaml")
        differs = set(config.difference(own, settings))
        if read_json(other / "done.json")["kind"] == found.kind and differs <= {"seed"}:
            table = read_evaluated(str(other)).table
            values[str(settings["seed"])] = auc(table["target"].to_numpy(), table["opacity"].to_numpy())
    return values if len(values) > 1 else {}


def interval(found: Interval) -> dict:
    return {"value": found.value, "low": found.low, "high": found.high}


# ------------------------------------------------------------------ for people


def shown(value: dict) -> str:
    if math.isnan(value["value"]):
        return "not measurable (one class only)"
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def class_rows(part: dict) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{row[column]:.2f}" for column in ("precision", "recall", "f1")), str(row["images"]))
        for name, row in part["classes"].items()
    ]


def lead(result: dict) -> str:
    folds = ", ".join(map(str, result["folds"]))
    return (
        f"{result['images']} held-out images of {result['people']} people (fold {folds} of {result['dataset']}), "
        f"{result['positives']} positive; intervals 95 %, over people"
    )


def summary(result: dict) -> str:
    lines = [f"{result['experiment']}: {lead(result)}", ""]
    for name in ("auc", "average_precision", "brier"):
        lines.append(f"{name.replace('_', ' '):22s} {shown(result[name])}")
    lines.append(f"{'calibration error':22s} {result['calibration_error']:.3f}")
    for name, title in (("at_half", "threshold 0.5"), ("at_cross_fitted_threshold", "threshold of other people")):
        part = result[name]
        lines += ["", f"{title}: accuracy {shown(part['accuracy'])}; confusion {part['confusion']}"]
        lines.append(f"  {'':10s} {'precision':>9s} {'recall':>7s} {'F1':>5s} {'images':>7s}")
        lines += [f"  {row[0]:10s} {row[1]:>9s} {row[2]:>7s} {row[3]:>5s} {row[4]:>7s}" for row in class_rows(part)]
    lines += ["", f"{'':16s} {'images':>7s} {'people':>7s} {'positive':>9s}  AUC"]
    for row in result["subgroups"]:
        counts = f"{row['images']:7d} {row['people']:7d} {row['positives']:9d}"
        lines.append(f"{row['of'] + ' ' + row['is']:16s} {counts}  {shown(row['auc'])}")
    for name, title in (("auc_of_folds", "folds"), ("auc_of_seeds", "seeds")):
        if len(result[name]) > 1:
            values = list(result[name].values())
            each = ", ".join(f"{key}: {value:.3f}" for key, value in result[name].items())
            lines.append(f"AUC of {title}: {each}; standard deviation {np.std(values, ddof=1):.3f}")
    return "\n".join(lines)


def as_page(found: Evaluated, result: dict) -> str:
    labels, scores = found.table["target"].to_numpy(), found.table["opacity"].to_numpy()
    half, fitted = result["at_half"], result["at_cross_fitted_threshold"]
    cards = [
        ("AUC", f"{result['auc']['value']:.3f}", shown(result["auc"])),
        ("Average precision", f"{result['average_precision']['value']:.3f}", shown(result["average_precision"])),
        ("Brier score", f"{result['brier']['value']:.3f}", shown(result["brier"])),
        ("Calibration error", f"{result['calibration_error']:.3f}", "expected, ten bins of equal count"),
    ]
    sections = [page.cards(cards)]
    if 0 < labels.sum() < len(labels):
        drawn = figures.curves(labels, scores, result["auc"]["value"], result["average_precision"]["value"])
        sections.append(page.section("Curves", page.plot(drawn, "ROC, precision-recall and calibration curves")))
    header = ("class", "precision", "recall", "F1", "images")
    sections += [
        page.section(
            title,
            page.paragraph(f"Accuracy {shown(part['accuracy'])}."),
            page.table(header, class_rows(part)),
            page.plot(figures.confusion(part["confusion"]), "confusion matrix"),
        )
        for title, part in (
            ("At a probability of one half", half),
            ("At the threshold that is best on other people (highest F1)", fitted),
        )
    ]
    rows = (
        (f"{row['of']} {row['is']}", row["images"], row["people"], row["positives"], shown(row["auc"]))
        for row in result["subgroups"]
    )
    header = ("group", "images", "people", "positive", "AUC (95 %)")
    sections.append(page.section("By sex, age and view", page.table(header, rows)))
    for run in found.runs:
        plot = page.plot(figures.history_curves(read_history(run.folder)), f"learning curves of fold {run.fold}")
        sections.append(page.section(f"Learning curves, fold {run.fold}", plot))
    pictures = looked_at(found)
    if pictures:
        words = "Grad-CAM: which parts of the image speak for an opacity. True positives first, then false ones."
        sections.append(page.section("Where it looked", page.paragraph(words), page.picture_grid(pictures)))
    environment = read_json(found.runs[0].folder / "environment.json")
    trained_on = f"{environment['processor']}, {environment['backend']}"
    sections.append(page.note(f"Trained on {trained_on}. Not a medical device."))
    return page.page(f"{result['experiment']}", lead(result), sections)
