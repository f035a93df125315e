"""What a run learns from other runs on the same data: weights, hard negatives, pseudo-labels; recorded by checksums."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pneumonia import config, schema
from pneumonia.boxes.predictions import read_classes, read_detections
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input
from pneumonia.system.files import sha256

RUN_PREFIX = "run:"  # model.weights=run:NAME starts from the run of runs/DATASET/NAME on the same fold


def needs_other_runs(experiment: schema.Experiment) -> bool:
    """Return whether a run of this experiment starts from finished runs of another one."""
    from_run = experiment.model.weights.startswith(RUN_PREFIX)
    return from_run or experiment.sampling.hard_negatives > 0 or bool(experiment.pseudo_labels.experiment)


def hardness(run: Run, sampling: schema.Sampling, ids: Sequence[str]) -> np.ndarray | None:
    """Return the confidence in a finding that `sampling.hard_from` had for each training image, (n,); None without
    hard negatives.

    They are out-of-fold predictions of the other folds, which are this run's training images; none are of the images
    that this run is scored on. (Those images were among the training images of the models that predicted; but only
    which negatives looked hard passes on, not a label.)

    Args:
        ids: of the training images.

    Raises:
        BadInput: that experiment lacks a finished run on one of the other folds.
    """
    if sampling.hard_negatives <= 0:
        return None
    confidence: dict[str, float] = {}
    experiment = sibling(run, sampling.hard_from, "sampling.hard_from")
    for other in sorted(experiment.glob("fold*")):
        if other.name == run.folder.name or not Run(other).is_done:
            continue
        if Run(other).done()["kind"] == "classifier":
            table = read_classes(Run(other).table("oof", "classifier"))
            confidence |= dict(zip(table.ids, table.opacity.tolist()))
        else:
            detections = read_detections(Run(other).table("oof", "localizer"))
            confidence |= {
                image: float(detections.image(row)[1].max(initial=0.0)) for row, image in enumerate(detections.ids)
            }
    missing = [image for image in ids if image not in confidence]
    if missing:
        what = f"its out-of-fold predictions lack {len(missing)} of the training images"
        raise bad_input(experiment, what, "train it with fold=all first")
    return np.array([confidence[image] for image in ids])


def with_weights_file(model: schema.Model, run: Run) -> schema.Model:
    """Return the model's settings with `run:NAME` replaced by the weights file of its run on the same fold.

    Raises:
        BadInput: it has no finished run on this fold, or a file's run may have seen the held-out images.
    """
    if not model.weights.startswith(RUN_PREFIX):
        check_same_folds(Path(model.weights), run)
    return resolve_run_weights(model, run)


def resolve_run_weights(model: schema.Model, run: Run) -> schema.Model:
    """Like `with_weights_file`, without a check of what the file's run may have seen."""
    if not model.weights.startswith(RUN_PREFIX):
        return model
    other = same_fold(run, model.weights.removeprefix(RUN_PREFIX), "model.weights")
    return dataclasses.replace(model, weights=str(other.weights))


def learned_from(run: Run, experiment: schema.Experiment) -> dict:
    """Return checksums (SHA-256) of what a run learns from besides the images; None for a missing file, which training
    will report.

    weights: of the file that `model.weights` names; `imagenet` has none, Keras's version determines that file.
    pseudo_labels: of the table of the test images.
    hard_from: {fold: of that fold's out-of-fold table}.
    """
    from pneumonia.models.pretrained import weights_file

    model, sampling, pseudo = experiment.model, experiment.sampling, experiment.pseudo_labels
    checksums: dict = {}
    if model.weights not in ("none", "imagenet"):
        checksums["weights"] = None
        with contextlib.suppress(BadInput, EnvironmentFailure, OSError):
            checksums["weights"] = sha256(weights_file(resolve_run_weights(model, run)))
    if pseudo.experiment:
        checksums["pseudo_labels"] = None
        with contextlib.suppress(BadInput, OSError):
            source = same_fold(run, pseudo.experiment, "pseudo_labels.experiment")
            checksums["pseudo_labels"] = sha256(source.table("test", "localizer"))
    if sampling.hard_negatives > 0:
        checksums["hard_from"] = None
        with contextlib.suppress(BadInput, OSError):
            experiment_folder = sibling(run, sampling.hard_from, "sampling.hard_from")
            others = [Run(folder) for folder in experiment_folder.glob("fold*")]
            others = [other for other in others if other.is_done and other.folder.name != run.folder.name]
            tables = {other.folder.name: other.table("oof", other.done()["kind"]) for other in others}
            checksums["hard_from"] = {fold: sha256(table) for fold, table in sorted(tables.items())}
    return checksums


def check_same_folds(weights: Path, run: Run) -> None:
    """Raises BadInput if `weights` are of a run on other folds or other data than `run`: it may have learned from the
    images that `run` is scored on. Weights from the synthetic demo are allowed on any other data."""
    other = Run(weights.parent)
    if weights.suffix != ".safetensors" or not (other.is_marked and other.settings_file.is_file()):
        return
    theirs, ours = (config.read_yaml(each.settings_file)["identity"] for each in (other, run))
    if other.start()["source"] == "demo" and theirs["data_key"] != ours["data_key"]:
        return
    different = [key for key in ("data_key", "folds_sha256", "fold") if theirs[key] != ours[key]]
    if different:
        what = f"is of a run with another {' and '.join(different)}, which may have seen the images held out here"
        fix = (
            "take model.weights=run:NAME; if you are sure that it has not, copy the file to another folder and "
            "set model.weights_sha256"
        )
        raise bad_input(weights, what, fix)


def same_fold(run: Run, name: str, setting: str) -> Run:
    """Return another experiment's run on the same fold. Raises BadInput if there is none, or it is not finished."""
    other = Run(sibling(run, name, setting) / run.folder.name)
    if not other.is_done:
        raise bad_input(setting, f"{name} has no finished run on this fold", f"train it first: {other.folder}")
    return other


def sibling(run: Run, name: str, setting: str) -> Path:
    """Return the folder of another experiment's runs on the same data.

    Args:
        name: its path under runs/<dataset>/, with the preset.
        setting: that names it, for the error.

    Raises:
        BadInput: the folder does not exist; the message has the nearest name.
    """
    dataset = run.dataset
    if name and (dataset / name).is_dir():
        return dataset / name
    known = sorted({path.parent.relative_to(dataset).as_posix() for path in dataset.glob("**/fold*")})
    raise bad_input(setting, f"there are no runs of '{name}' in {dataset}", config.nearest(name, known))
