"""The images of one run, from a fold table and an experiment: trained on, measured every epoch, and held out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.data.nih import nih_samples
from pneumonia.data.prepared import Prepared
from pneumonia.data.published_split import PUBLISHED, REPORT, scored_part
from pneumonia.data.samples import Samples, samples_of
from pneumonia.system.errors import bad_input
from pneumonia.system.files import atomic_write

MAX_NAMES = 3  # images that an error message names


@dataclass(frozen=True)
class RunData:
    """The images of one run.

    samples: for training.
    inner: measured after every epoch, or None.
    held_out, holdout: rows of the study table.
    """

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
        table["boxes"] = [
            " ".join(np.format_float_positional(number, trim="-") for number in numbers) for numbers in boxes
        ]
        with atomic_write(path) as file:
            table.to_csv(file, index=False, lineterminator="\n")


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
        return RunData(select_samples(samples, ~is_inner), inner, held_out, holdout)
    inner = samples_of(inner, cache, size) if len(inner) else None
    return RunData(samples_of(training, cache, size), inner, held_out, holdout)


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
    """Return the people of the training folds who form the inner split; they depend on the seed and the people only.

    Raises:
        BadInput: all people would be in it, so that nobody is left to train on.
    """
    people = np.sort(groups.unique())
    count = max(1, round(experiment.inner_val_fraction * len(people))) if experiment.inner_val_fraction > 0 else 0
    if count == len(people):
        what = f"an inner split of {experiment.inner_val_fraction:g} takes all {count} people of the training folds"
        raise bad_input("inner_val_fraction", what, "set it lower, or to 0")
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
