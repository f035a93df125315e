"""The student report's table, its published figures beside those of the runs made here."""

from pathlib import Path

import numpy as np

from pneumonia import config
from pneumonia.boxes.predictions import read_detections
from pneumonia.metrics.classification import auc_interval
from pneumonia.metrics.intervals import mean_interval
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.reports.classifier import class_measures
from pneumonia.reports.evaluated import Evaluated, read_evaluated
from pneumonia.reports.numbers import interval_text, json_interval
from pneumonia.reports.report_figures import ReportFigures
from pneumonia.system.errors import BadInput

DRAWS = 2000
NOT_COMPARED = ("weights", "weights_folder", "weights_sha256")  # of model: a row has its weights, the rest are paths


def folders_of(root: Path, experiment: str) -> list[Path]:
    """Experiment folders with finished runs: runs/<dataset>/<experiment>[-preset][-hash]/, the split's runs apart."""
    group, name = experiment.split("/")
    folders = [
        folder
        for folder in sorted(root.glob(f"*/{group}/{name}*"))
        if folder.name == name or folder.name.startswith(f"{name}-")
    ]
    return [folder for folder in folders if any(folder.glob("fold*/done.json"))]


def measure_folder(folder: Path, experiment: str) -> dict | None:
    """What the runs in an experiment's folder reached on their held-out images; None where they cannot be read, or are
    of another network than the experiment's, named on the command line."""
    try:
        evaluated = read_evaluated(str(folder))
    except BadInput:
        return None
    settings = config.read_yaml(evaluated.runs[0].folder / "config.yaml")
    unlike = unlike_experiment(settings["model"], experiment)
    if "name" in unlike:
        return None
    row = {
        "folder": str(folder),
        "dataset": evaluated.runs[0].dataset.name,
        "split": split_of(evaluated),
        "weights": settings["model"]["weights"],
        "unlike_experiment": unlike,
        "image_size": settings["image_size"],
        "epochs": settings["epochs"],
        "images": len(evaluated.table),
        "people": len(np.unique(evaluated.people)),
        "seconds": sum(run.done()["seconds"] for run in evaluated.runs),
    }
    return row | (classifier_figures(evaluated) if evaluated.kind == "classifier" else localizer_figures(evaluated))


def unlike_experiment(model: dict, experiment: str) -> dict:
    """{setting of model: the run's value} of what a preset or the command line changed in the experiment's network."""
    own = config.as_tree(config.read_experiment(experiment, "full").model)
    changed = config.difference(own, model, "model.")
    names = {key.removeprefix("model."): value for key, value in changed.items()}
    return {name: value for name, value in names.items() if name not in NOT_COMPARED}


def split_of(evaluated: Evaluated) -> str:
    if evaluated.runs[0].fold == "report":
        return "the report's split, which leaks people"
    folds = ", ".join(str(run.fold) for run in evaluated.runs)
    return f"fold{'s' if len(evaluated.runs) > 1 else ''} {folds}, by person"


def classifier_figures(evaluated: Evaluated) -> dict:
    return image_figures(evaluated, evaluated.table["opacity"].to_numpy())


def image_figures(evaluated: Evaluated, scores: np.ndarray) -> dict:
    """scores: (n,) how sure the model is of a finding in each image, 0 to 1."""
    labels = evaluated.table["target"].to_numpy()
    return {
        "auc": json_interval(auc_interval(labels, scores, evaluated.people, DRAWS)),
        "at_half": class_measures(labels, scores >= 0.5, evaluated.people, DRAWS),
    }


def localizer_figures(evaluated: Evaluated) -> dict:
    """The competition's metric on all boxes of at least one half, as the report would have drawn them, and since what
    it published of its localizers are figures of images: those of an image's surest box."""
    boxes = [np.array(text.split(), dtype=float).reshape(-1, 4) for text in evaluated.table["boxes"].fillna("")]
    truth = Truth.from_lists(evaluated.table["patientId"], boxes)
    scores, surest = [], []
    for run in evaluated.runs:
        own = evaluated.table.loc[evaluated.table["fold"].astype(str) == str(run.fold), "patientId"].tolist()
        table = read_detections(run.table("oof", "localizer")).select(own)
        scores.append(image_scores(truth.select(own), table.keep(table.scores >= 0.5)))
        surest += [table.image(row)[1].max(initial=0.0) for row in range(len(table))]
    box_figures = {"iou_map": json_interval(mean_interval(np.concatenate(scores), evaluated.people, DRAWS))}
    return box_figures | image_figures(evaluated, np.array(surest))


# ------------------------------------------------------------------ for people


def lines_of(published: ReportFigures, ours: list[dict]) -> list[str]:
    total, trainable = published.parameters
    remark = f" ({published.remark})" if published.remark else ""
    lines = ["", f"{published.title}, {total:,} / {trainable:,} parameters"]
    lines.append(f"  published  {published.figures}{remark}")
    if not ours:
        lines.append(f"  ours       not measured: ./run.sh train experiment={published.experiment}")
    for row in ours:
        lines.append(f"  ours       {figures_of(row)}")
        trained = f"weights={row['weights']}, {row['image_size']} px, {row['epochs']} epochs, {row['seconds']:.0f} s"
        held_out = f"{row['images']} images of {row['people']} people"
        if "iou_map" in row:
            lines.append(f"             (images by their surest box), IoU-mAP at 0.5 {interval_text(row['iou_map'])}")
        lines += [f"             {row['dataset']}, {row['split']}: {held_out}", f"             {trained}"]
        if row["unlike_experiment"]:
            changed = ", ".join(map(setting_text, row["unlike_experiment"].items()))
            lines.append(f"             unlike {published.experiment}: {changed}")
    return lines


def setting_text(changed: tuple) -> str:
    name, value = changed
    return "not frozen" if name == "frozen_epochs" and value == 0 else f"{name}={value}"


def figures_of(row: dict) -> str:
    half = row["at_half"]
    classes = "; ".join(
        f"{name.capitalize()} " + " ".join(f"{short} {one[column]:.2f}" for short, column in
                                           (("P", "precision"), ("R", "recall"), ("F1", "f1")))
        for name, one in half["classes"].items()
    )  # fmt: skip
    return f"AUC {interval_text(row['auc'])}, acc {half['accuracy']['value']:.2f}; {classes}"
