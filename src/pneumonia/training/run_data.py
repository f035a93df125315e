"""The images of one run, from a fold table and an experiment: trained on, measured every epoch, and held out."""

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.boxes.predictions import read_classes, read_detections
from pneumonia.data.nih import nih_samples
from pneumonia.data.prepared import Prepared
from pneumonia.data.published_split import PUBLISHED, REPORT, scored_part
from pneumonia.data.samples import Samples, samples_of
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input
from pneumonia.system.files import atomic_write, sha256

MAX_NAMES = 3  # images that an error message names
RUN_PREFIX = "run:"  # model.weights=run:EXPERIMENT starts from that experiment's run on the same fold


@dataclass(frozen=True)
class RunData:
    """The images of one run.

    samples: for training.
    inner: measured after every epoch, or None.
    held_out, holdout: rows of the study table.
    """

    experiment: schema.Experiment
    samples: Samples
    inner: Samples | None
    held_out: pd.DataFrame
    holdout: pd.DataFrame

    def write_held_out(self, path: Path, fold: int | str) -> None:
        """Write what evaluation needs of the held-out images, so that it does not need the data folder.

        Its column `boxes` is "x y width height ..." of all true boxes, in pixels of the original image.
        """
        table = self.held_out[["patientId", "target", "class", "group", "sex", "age", "view"]].assign(fold=fold)
        boxes = (np.reshape(xywh, -1).tolist() for xywh in self.held_out["boxes"])
        table["boxes"] = [" ".join(f"{number:g}" for number in numbers) for numbers in boxes]
        with atomic_write(path) as file:
            table.to_csv(file, index=False, lineterminator="\n")

    def hardness(self, run: Run) -> np.ndarray | None:
        """Return the confidence in a finding that `sampling.hard_from` had for each training image, (n,); None without
        hard negatives.

        They are out-of-fold predictions of the other folds, which are this run's training images; none are of the
        images that this run is scored on. (Those images were among the training images of the models that predicted;
        but only which negatives looked hard passes on, not a label.)

        Raises:
            BadInput: that experiment lacks a finished run on one of the other folds.
        """
        sampling = self.experiment.sampling
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
        missing = [image for image in self.samples.ids if image not in confidence]
        if missing:
            what = f"its out-of-fold predictions lack {len(missing)} of the training images"
            raise bad_input(experiment, what, "train it with fold=all first")
        return np.array([confidence[image] for image in self.samples.ids])


def run_data_of(data: Prepared, fold: int | str, experiment: schema.Experiment, nih: str = "") -> RunData:
    """Select a run's images from the fold table.

    Rows with this fold are held out, those with another number are for training; `holdout` is predicted too, `removed`
    is not used. With the report's split, `train` is for training, `val` is the inner split and `test` is held out; with
    a published split likewise, but where its test images have no labels, `val` is held out.

    Args:
        nih: folder of ChestX-ray14, for a head of NIH's labels.

    Raises:
        BadInput: a head of NIH's labels without `nih`, a folder that cannot be read, or a held-out image whose person
            is not known.
    """
    study, cache, size = data.study, data.cache, experiment.image_size
    folds = study["patientId"].map(data.folds.set_index("patientId")["fold"].astype(str))
    if fold in (REPORT, PUBLISHED):
        scored = scored_part(data.folds, study) if fold == PUBLISHED else "test"
        held_out, training = study[folds == scored], study[folds == "train"]
        inner = study[(folds == "val") & (scored != "val")]  # what is scored measures nothing during training
    else:
        held_out, training = study[folds == str(fold)], study[folds.str.isdigit() & (folds != str(fold))]
        inner = study[:0]
    if inner.empty:
        is_inner = training["group"].isin(inner_people(training["group"], experiment))
        training, inner = training[~is_inner], training[is_inner]
    holdout = study[folds == "holdout"]
    if experiment.model.head == "nih":
        if not nih:
            raise bad_input("nih", "is missing", "give nih= the folder of ChestX-ray14")
        check_people_known(pd.concat([held_out, holdout]), data.mapping)
        samples, people = nih_samples(config.user_path(nih), size, set(held_out["group"]) | set(holdout["group"]))
        is_inner = np.isin(people, inner_people(pd.Series(people), experiment))
        inner = select_samples(samples, is_inner) if is_inner.any() else None
        return RunData(experiment, select_samples(samples, ~is_inner), inner, held_out, holdout)
    inner = samples_of(inner, cache, size) if len(inner) else None
    return RunData(experiment, samples_of(training, cache, size), inner, held_out, holdout)


def check_people_known(study: pd.DataFrame, mapping: Path | None) -> None:
    """Raises BadInput for images whose person is not known: NIH's images of that person cannot be left out."""
    unknown = sorted(study.loc[study["group"] == study["patientId"], "patientId"])
    if not unknown:
        return
    if mapping is None:
        what = "is missing: pretraining on NIH would see the held-out people"
        raise bad_input("mapping", what, "give mapping= the table of images and people")
    first = ", ".join(unknown[:MAX_NAMES]) + (", ..." if len(unknown) > MAX_NAMES else "")
    what = f"has no person for {len(unknown)} held-out images ({first}): pretraining on NIH might see them"
    fix = "take RSNA's official JSON, pneumonia-challenge-dataset-mappings_2018.json: it has every image's person"
    raise bad_input(mapping, what, fix)


def inner_people(groups: pd.Series, experiment: schema.Experiment) -> np.ndarray:
    """Return the people of the training folds who form the inner split; they depend on the seed and the people only."""
    people = np.sort(groups.unique())
    count = max(1, round(experiment.inner_val_fraction * len(people))) if experiment.inner_val_fraction > 0 else 0
    return np.random.default_rng(experiment.seed).permutation(people)[:count]


def select_samples(samples: Samples, mask: np.ndarray) -> Samples:
    """Return the samples where `mask` is true. Their images are an array."""
    rows = np.flatnonzero(mask)
    boxes = [samples.boxes[row] for row in rows]
    return Samples(samples.ids[rows], Rows(samples.images, rows), boxes, samples.classes[rows])


@dataclass(frozen=True)
class Rows:
    """Some images of an array, without a copy."""

    images: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(self.images[self.rows[index]])


def with_weights_file(model: schema.Model, run: Run) -> schema.Model:
    """Return the model's settings with `run:EXPERIMENT` replaced by the weights file of its run on the same fold.

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
    name = model.weights.removeprefix(RUN_PREFIX)
    other = Run(sibling(run, name, "model.weights") / run.folder.name)
    if not other.is_done:
        raise bad_input("model.weights", f"{name} has no finished run on this fold", f"train it first: {other.folder}")
    return dataclasses.replace(model, weights=str(other.weights))


def learned_from(run: Run, experiment: schema.Experiment) -> dict:
    """Return checksums (SHA-256) of what a run learns from besides the images; None for a missing file, which training
    will report.

    weights: of the file that `model.weights` names; `imagenet` has none, Keras's version determines that file.
    hard_from: {fold: of that fold's out-of-fold table}.
    """
    from pneumonia.models.pretrained import weights_file

    model, sampling = experiment.model, experiment.sampling
    checksums: dict = {}
    if model.weights not in ("none", "imagenet"):
        checksums["weights"] = None
        with contextlib.suppress(BadInput, EnvironmentFailure, OSError):
            checksums["weights"] = sha256(weights_file(resolve_run_weights(model, run)))
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
            "take model.weights=run:EXPERIMENT; if you are sure that it has not, copy the file to another folder and "
            "set model.weights_sha256"
        )
        raise bad_input(weights, what, fix)


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
