"""The student report's table, its published figures beside those of the runs made here."""

from pathlib import Path

import numpy as np

from pneumonia import config, schema
from pneumonia.boxes.predictions import read_detections
from pneumonia.metrics.classification import auc_interval, per_class
from pneumonia.metrics.intervals import mean_interval
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.reports.classifier import interval, shown
from pneumonia.reports.evaluated import Evaluated, read_evaluated
from pneumonia.reports.report_figures import Published
from pneumonia.system.errors import BadInput

DRAWS = 2000
APART = ("weights", "weights_folder", "weights_sha256")  # of model: weights are shown anyway, the others are paths


def folders_of(root: Path, experiment: str) -> list[Path]:
    """Experiment folders with finished runs: runs/<dataset>/<experiment>[-preset][-hash]/, the split's runs apart."""
    group, name = experiment.split("/")
    folders = [
        folder
        for folder in sorted(root.glob(f"*/{group}/{name}*"))
        if folder.name == name or folder.name.startswith(f"{name}-")
    ]
    return [folder for folder in folders if any(folder.glob("fold*/done.json"))]


def measured(folder: Path, experiment: str) -> dict | None:
    """What the runs in an experiment's folder reached on their held-out images; None where they cannot be read, or are
    of another network than the experiment's, named on the command line."""
    try:
        found = read_evaluated(str(folder))
    except BadInput:
        return None
    settings = config.read_yaml(found.runs[0].folder / "config.yaml")
    unlike = unlike_experiment(settings["model"], experiment)
    if "name" in unlike:
        return None
    row = {
        "folder": str(folder),
        "dataset": found.runs[0].dataset.name,
        "split": "the report's split, which leaks people" if found.runs[0].fold == "report" else folds_of(found),
        "weights": settings["model"]["weights"],
        "unlike_experiment": unlike,
        "image_size": settings["image_size"],
        "epochs": settings["epochs"],
        "images": len(found.table),
        "people": len(np.unique(found.people)),
        "seconds": sum(run.done()["seconds"] for run in found.runs),
    }
    return row | (of_classifier(found) if found.kind == "classifier" else of_localizer(found))


def unlike_experiment(model: dict, experiment: str) -> dict:
    """{setting of model: the run's value} of what a preset or the command line changed in the experiment's network."""
    own = config.as_tree(config.read_experiment(experiment, "full").model)
    # a setting that an older version of the program did not know had its default's effect
    changed = config.difference(own, config.merge(config.as_tree(schema.Model()), model), "model.")
    names = {key.removeprefix("model."): value for key, value in changed.items()}
    return {name: value for name, value in names.items() if name not in APART}


def folds_of(found: Evaluated) -> str:
    folds = ", ".join(str(run.fold) for run in found.runs)
    return f"fold{'s' if len(found.runs) > 1 else ''} {folds}, by person"


def of_classifier(found: Evaluated) -> dict:
    return of_images(found, found.table["opacity"].to_numpy())


def of_images(found: Evaluated, scores: np.ndarray) -> dict:
    """scores: (n,) how sure the model is of a finding in each image, 0 to 1."""
    labels = found.table["target"].to_numpy()
    called = scores >= 0.5
    return {
        "auc": interval(auc_interval(labels, scores, found.people, DRAWS)),
        "at_half": per_class(labels, called)
        | {"accuracy": interval(mean_interval((labels == called).astype(float), found.people, DRAWS))},
    }


def of_localizer(found: Evaluated) -> dict:
    """The competition's metric on all boxes of at least one half, as the report would have drawn them, and since what
    it published of its localizers are figures of images: those of an image's surest box."""
    boxes = [np.array(text.split(), dtype=float).reshape(-1, 4) for text in found.table["boxes"].fillna("")]
    truth = Truth.from_lists(found.table["patientId"], boxes)
    scores, surest = [], []
    for run in found.runs:
        own = found.table.loc[found.table["fold"].astype(str) == str(run.fold), "patientId"].tolist()
        table = read_detections(run.table("oof", "localizer")).select(own)
        scores.append(image_scores(truth.select(own), table.keep(table.scores >= 0.5)))
        surest += [table.image(row)[1].max(initial=0.0) for row in range(len(table))]
    of_boxes = {"iou_map": interval(mean_interval(np.concatenate(scores), found.people, DRAWS))}
    return of_boxes | of_images(found, np.array(surest))


# ------------------------------------------------------------------ for people


def lines_of(published: Published, ours: list[dict]) -> list[str]:
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
            lines.append(f"             (images by their surest box), IoU-mAP at 0.5 {shown(row['iou_map'])}")
        lines += [f"             {row['dataset']}, {row['split']}: {held_out}", f"             {trained}"]
        if row["unlike_experiment"]:
            changed = ", ".join(map(told, row["unlike_experiment"].items()))
            lines.append(f"             unlike {published.experiment}: {changed}")
    return lines


def told(changed: tuple) -> str:
    name, value = changed
    return "not frozen" if name == "frozen_epochs" and value == 0 else f"{name}={value}"


def figures_of(row: dict) -> str:
    half = row["at_half"]
    classes = "; ".join(
        f"{name.capitalize()} " + " ".join(f"{short} {one[column]:.2f}" for short, column in
                                           (("P", "precision"), ("R", "recall"), ("F1", "f1")))
        for name, one in half["classes"].items()
    )  # fmt: skip
    return f"AUC {shown(row['auc'])}, acc {half['accuracy']['value']:.2f}; {classes}"
