"""The student report's table: its published figures next to those of our runs."""

from pathlib import Path

import numpy as np

from pneumonia import config
from pneumonia.boxes.predictions import read_detections
from pneumonia.data.published_split import PUBLISHED, REPORT
from pneumonia.metrics.auc import auc_interval
from pneumonia.metrics.intervals import mean_interval
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.reports.classifier import class_measures
from pneumonia.reports.held_out import HeldOut, read_held_out
from pneumonia.reports.numbers import interval_text, json_interval
from pneumonia.reports.report_figures import ReportFigures
from pneumonia.system.errors import BadInput

DRAWS = 2000
# settings of model: a row shows its weights, the others are paths
NOT_COMPARED = ("weights", "weights_folder", "weights_sha256")


def folders_of(root: Path, experiment: str) -> list[Path]:
    """Find the experiment's folders with finished runs: runs/<dataset>/<experiment>[-preset][-hash]/."""
    group, name = experiment.split("/")
    folders = [
        folder
        for folder in sorted(root.glob(f"*/{group}/{name}*"))
        if folder.name == name or folder.name.startswith(f"{name}-")
    ]
    return [folder for folder in folders if any(folder.glob("fold*/done.json"))]


def measure_folder(folder: Path, experiment: str) -> dict | None:
    """Measure the runs in an experiment's folder on their held-out images.

    None if they cannot be read, or if the command line gave them another network than the experiment's.
    """
    try:
        held_out = read_held_out(str(folder))
    except BadInput:
        return None
    settings = config.read_yaml(held_out.runs[0].folder / "config.yaml")
    changes = changed_settings(settings["model"], experiment)
    if "name" in changes:
        return None
    row = {
        "folder": str(folder),
        "dataset": held_out.runs[0].dataset.name,
        "split": split_of(held_out),
        "weights": settings["model"].get("weights", "none"),  # which fcnn and cnn do not have
        "unlike_experiment": changes,
        "image_size": settings["image_size"],
        "epochs": settings["epochs"],
        "images": len(held_out.table),
        "people": len(np.unique(held_out.people)),
        "seconds": sum(run.done()["seconds"] for run in held_out.runs),
    }
    return row | (classifier_figures(held_out) if held_out.kind == "classifier" else localizer_figures(held_out))


def changed_settings(model: dict, experiment: str) -> dict:
    """Return {setting of model: the run's value} of what a preset or the command line changed in the experiment."""
    defaults = config.as_tree(config.read_experiment(experiment, "full").model)
    changed = config.difference(defaults, model, "model.")
    names = {key.removeprefix("model."): value for key, value in changed.items()}
    return {name: value for name, value in names.items() if name not in NOT_COMPARED}


def split_of(held_out: HeldOut) -> str:
    if held_out.runs[0].fold == REPORT:
        return "the report's split, which leaks people"
    if held_out.runs[0].fold == PUBLISHED:
        return "a published split"
    folds = ", ".join(str(run.fold) for run in held_out.runs)
    return f"fold{'s' if len(held_out.runs) > 1 else ''} {folds}, by person"


def classifier_figures(held_out: HeldOut) -> dict:
    return image_figures(held_out, held_out.table["opacity"].to_numpy())


def image_figures(held_out: HeldOut, scores: np.ndarray) -> dict:
    """Measure image scores. scores: (n,) confidence that the image has a finding, 0 to 1."""
    labels = held_out.table["target"].to_numpy()
    return {
        "auc": json_interval(auc_interval(labels, scores, held_out.people, DRAWS)),
        "at_half": class_measures(labels, scores >= 0.5, held_out.people, DRAWS),
    }


def localizer_figures(held_out: HeldOut) -> dict:
    """Measure boxes and images of a localizer.

    Boxes: the competition's metric at threshold 0.5, as in the report. Images, whose figures the report published: by
    the confidence of their best box.
    """
    boxes = [np.array(text.split(), dtype=float).reshape(-1, 4) for text in held_out.table["boxes"].fillna("")]
    truth = Truth.from_lists(held_out.table["patientId"], boxes)
    scores, highest = [], []
    for run in held_out.runs:
        ids = held_out.table.loc[held_out.table["fold"].astype(str) == str(run.fold), "patientId"].tolist()
        table = read_detections(run.table("oof", "localizer")).select(ids)
        scores.append(image_scores(truth.select(ids), table.keep(table.scores >= 0.5)))
        highest += [table.image(row)[1].max(initial=0.0) for row in range(len(table))]
    box_figures = {"iou_map": json_interval(mean_interval(np.concatenate(scores), held_out.people, DRAWS))}
    return box_figures | image_figures(held_out, np.array(highest))


# ------------------------------------------------------------------ as text


def lines_of(published: ReportFigures, ours: list[dict]) -> list[str]:
    total, trainable = published.parameters
    remark = f" ({published.remark})" if published.remark else ""
    lines = ["", f"{published.title}, {total:,} / {trainable:,} parameters"]
    lines.append(f"  published  {published.figures}{remark}")
    if not ours:
        lines.append(f"  ours       not measured: ./run.sh train experiment={published.experiment}")
    for row in ours:
        lines.append(f"  ours       {figures_of(row)}")
        training = f"weights={row['weights']}, {row['image_size']} px, {row['epochs']} epochs, {row['seconds']:.0f} s"
        held_out = f"{row['images']} images of {row['people']} people"
        if "iou_map" in row:
            lines.append(f"             (images by their best box), IoU-mAP at 0.5 {interval_text(row['iou_map'])}")
        lines += [f"             {row['dataset']}, {row['split']}: {held_out}", f"             {training}"]
        if row["unlike_experiment"]:
            changes = ", ".join(map(setting_text, row["unlike_experiment"].items()))
            lines.append(f"             unlike {published.experiment}: {changes}")
    return lines


def setting_text(changed: tuple) -> str:
    name, value = changed
    return "not frozen" if name == "frozen_epochs" and value == 0 else f"{name}={value}"


def figures_of(row: dict) -> str:
    half = row["at_half"]
    classes = "; ".join(
        f"{name.capitalize()} " + " ".join(f"{short} {measures[column]:.2f}" for short, column in
                                           (("P", "precision"), ("R", "recall"), ("F1", "f1")))
        for name, measures in half["classes"].items()
    )  # fmt: skip
    return f"AUC {interval_text(row['auc'])}, acc {half['accuracy']['value']:.2f}; {classes}"
