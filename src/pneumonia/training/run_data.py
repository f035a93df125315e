"""What one run trains on, measures every epoch and is scored on: samples from a fold table and an experiment."""

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
from pneumonia.data.samples import Samples, samples_of
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input
from pneumonia.system.files import atomic_write, sha256

NAMED = 3  # of the images that an error is about
RUN = "run:"  # of model.weights: an experiment of ours, whose run on the same fold gives its backbone


@dataclass(frozen=True)
class RunData:
    """samples: trained on. inner: measured after every epoch, or None. held_out, holdout: rows of the study table."""

    experiment: schema.Experiment
    samples: Samples
    inner: Samples | None
    held_out: pd.DataFrame
    holdout: pd.DataFrame

    def write_held_out(self, path: Path, fold: int | str) -> None:
        """What evaluation needs to know of the held-out images, so that it needs no data folder.

        boxes: "x y width height ..." of every true box, in pixels of the original image.
        """
        table = self.held_out[["patientId", "target", "class", "group", "sex", "age", "view"]].assign(fold=fold)
        boxes = (np.reshape(xywh, -1).tolist() for xywh in self.held_out["boxes"])
        table["boxes"] = [" ".join(f"{number:g}" for number in numbers) for numbers in boxes]
        with atomic_write(path) as file:
            table.to_csv(file, index=False, lineterminator="\n")

    def hardness(self, run: Run) -> np.ndarray | None:
        """How sure `sampling.hard_from` was of a finding in each training image, (n,); None where none is asked for.

        Read from its out-of-fold predictions of the other folds, which are this run's training images: nothing is
        predicted on the images that this run is scored on. (The models behind them did see those images as training
        images; what carries over is which negatives looked hard, not a label.)

        Raises:
            BadInput: that experiment has no finished run on one of the other folds.
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
                found = read_detections(Run(other).table("oof", "localizer"))
                confidence |= {
                    image: float(found.image(row)[1].max(initial=0.0)) for row, image in enumerate(found.ids)
                }
        missing = [image for image in self.samples.ids if image not in confidence]
        if missing:
            what = f"its out-of-fold predictions lack {len(missing)} of the training images"
            raise bad_input(experiment, what, "train it with fold=all first")
        return np.array([confidence[image] for image in self.samples.ids])


def run_data_of(data: Prepared, fold: int | str, experiment: schema.Experiment, nih: str = "") -> RunData:
    """Rows of the fold table that say `fold` are held out, `holdout` is predicted too, `removed` is not used at all.
    With the report's split, train is trained on, val is the inner split, test is held out.

    Raises:
        BadInput: a head of NIH's labels without `nih`, a folder that cannot be read, or a held-out image whose person
            is not known.
    """
    study, cache, size = data.study, data.cache, experiment.image_size
    where = study["patientId"].map(data.folds.set_index("patientId")["fold"].astype(str))
    if fold == "report":
        training, inner, held_out = (study[where == name] for name in ("train", "val", "test"))
    else:
        held_out, training = study[where == str(fold)], study[where.str.isdigit() & (where != str(fold))]
        is_inner = training["group"].isin(inner_people(training["group"], experiment))
        training, inner = training[~is_inner], training[is_inner]
    holdout = study[where == "holdout"]
    if experiment.model.head == "nih":
        if not nih:
            raise bad_input("nih", "is missing", "give nih= the folder of ChestX-ray14")
        refuse_unknown_people(pd.concat([held_out, holdout]), data.mapping)
        samples, people = nih_samples(config.user_path(nih), size, set(held_out["group"]) | set(holdout["group"]))
        is_inner = np.isin(people, inner_people(pd.Series(people), experiment))
        inner = part(samples, is_inner) if is_inner.any() else None
        return RunData(experiment, part(samples, ~is_inner), inner, held_out, holdout)
    inner = samples_of(inner, cache, size) if len(inner) else None
    return RunData(experiment, samples_of(training, cache, size), inner, held_out, holdout)


def refuse_unknown_people(study: pd.DataFrame, mapping: Path | None) -> None:
    """Raises BadInput for images that no person is known of: NIH's images of them cannot be left out of training."""
    unknown = sorted(study.loc[study["group"] == study["patientId"], "patientId"])
    if not unknown:
        return
    if mapping is None:
        what = "is missing: pretraining on NIH would see the held-out people"
        raise bad_input("mapping", what, "give mapping= the table of images and people")
    first = ", ".join(unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
    what = f"names no person for {len(unknown)} held-out images ({first}): pretraining on NIH might see them"
    fix = "take RSNA's official JSON, pneumonia-challenge-dataset-mappings_2018.json, which names every image's"
    raise bad_input(mapping, what, fix)


def inner_people(groups: pd.Series, experiment: schema.Experiment) -> np.ndarray:
    """People of the training folds in the inner split; a function of the seed and of the people."""
    people = np.sort(groups.unique())
    count = max(1, round(experiment.inner_val_fraction * len(people))) if experiment.inner_val_fraction > 0 else 0
    return np.random.default_rng(experiment.seed).permutation(people)[:count]


def part(samples: Samples, chosen: np.ndarray) -> Samples:
    """Those samples whose `chosen` is true. images: an array."""
    rows = np.flatnonzero(chosen)
    boxes = [samples.boxes[row] for row in rows]
    return Samples(samples.ids[rows], Rows(samples.images, rows), boxes, samples.classes[rows])


@dataclass(frozen=True)
class Rows:
    """Some images of an array, none of them copied."""

    images: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(self.images[self.rows[index]])


def start_of(model: schema.Model, run: Run) -> schema.Model:
    """The model's settings with `run:EXPERIMENT` as the weights file of that experiment's run on the same fold.

    Raises:
        BadInput: it has no finished run on this fold, or a file's run may have seen the held-out images.
    """
    if not model.weights.startswith(RUN):
        refuse_other_folds(Path(model.weights), run)
    return with_file(model, run)


def with_file(model: schema.Model, run: Run) -> schema.Model:
    """`start_of` without the question whether a file may be learned from."""
    if not model.weights.startswith(RUN):
        return model
    name = model.weights.removeprefix(RUN)
    other = Run(sibling(run, name, "model.weights") / run.folder.name)
    if not other.is_done:
        raise bad_input("model.weights", f"{name} has no finished run on this fold", f"train it first: {other.folder}")
    return dataclasses.replace(model, weights=str(other.weights))


def learned_from(run: Run, experiment: schema.Experiment) -> dict:
    """SHA-256 of what a run learns from besides the images: the file of its first weights, other models' tables.

    Returns:
        weights: of the file that `model.weights` names; imagenet's is Keras's own, by its version.
        hard_from: {fold: of its out-of-fold table}. A file that cannot be found has None: training will say so.
    """
    from pneumonia.models.pretrained import weights_file

    model, sampling = experiment.model, experiment.sampling
    checksums: dict = {}
    if model.weights not in ("none", "imagenet"):
        checksums["weights"] = None
        with contextlib.suppress(BadInput, EnvironmentFailure, OSError):
            checksums["weights"] = sha256(weights_file(with_file(model, run)))
    if sampling.hard_negatives > 0:
        checksums["hard_from"] = None
        with contextlib.suppress(BadInput, OSError):
            others = [Run(each) for each in sibling(run, sampling.hard_from, "sampling.hard_from").glob("fold*")]
            others = [other for other in others if other.is_done and other.folder.name != run.folder.name]
            tables = {other.folder.name: other.table("oof", other.done()["kind"]) for other in others}
            checksums["hard_from"] = {fold: sha256(table) for fold, table in sorted(tables.items())}
    return checksums


def refuse_other_folds(weights: Path, run: Run) -> None:
    """Raises BadInput where `weights` are of a run of ours on other folds or other data than `run`: it may have learned
    from the images that `run` is scored on. What was learned from the synthetic demo is of no image anywhere else."""
    other = Run(weights.parent)
    if weights.suffix != ".safetensors" or not (other.is_marked and other.settings_file.is_file()):
        return
    theirs, ours = (config.read_yaml(each.settings_file)["identity"] for each in (other, run))
    if other.start()["source"] == "demo" and theirs["data_key"] != ours["data_key"]:
        return
    different = [key for key in ("data_key", "folds_sha256", "fold") if theirs[key] != ours[key]]
    if different:
        what = f"is of a run with another {' and '.join(different)}, which may have seen the images held out here"
        fix = "take model.weights=run:EXPERIMENT; if you know better, copy the file elsewhere and name its checksum"
        raise bad_input(weights, what, fix)


def sibling(run: Run, name: str, setting: str) -> Path:
    """Folder of another experiment's runs on the same data: its path under runs/<dataset>/, preset included.

    Raises:
        BadInput: there is no such folder; those that are there are listed.
    """
    dataset = run.dataset
    if name and (dataset / name).is_dir():
        return dataset / name
    known = sorted({path.parent.relative_to(dataset).as_posix() for path in dataset.glob("**/fold*")})
    raise bad_input(setting, f"there are no runs of '{name}' in {dataset}", config.nearest(name, known))
