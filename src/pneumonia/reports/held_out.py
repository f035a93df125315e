"""Read finished runs for evaluation: their held-out images with the predictions."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from pneumonia import config
from pneumonia.boxes.predictions import read_classes
from pneumonia.runs.run import Run
from pneumonia.system.errors import bad_input

TEXT = dict.fromkeys(("patientId", "class", "group", "sex", "view", "boxes"), str)  # `NA` is a valid id
PARTS = 5  # a single fold is split into, so that thresholds are fitted and scored on different people


class Evaluation(NamedTuple):
    """result: of evaluation.json. summary: of the terminal. page: HTML."""

    result: dict
    summary: str
    page: str


@dataclass(frozen=True)
class HeldOut:
    """The held-out images of one experiment's finished runs.

    folder: of the run or of the experiment, as given. kind: classifier or localizer.
    table: a row per held-out image: patientId, target, class, group, sex, age, view, fold, boxes; for classifiers also
        opacity. people: (n,) person of each row, numbered from 0.
    """

    folder: Path
    runs: list[Run]
    kind: str
    table: pd.DataFrame
    people: np.ndarray

    @property
    def name(self) -> str:
        """The experiment's folder, relative to the data set's."""
        run = self.runs[0]
        return run.folder.parent.relative_to(run.dataset).as_posix()

    def as_json(self) -> dict:
        """Experiment, folds and counts, for the JSON."""
        return {
            "experiment": self.name,
            "dataset": self.runs[0].dataset.name,
            "folds": [run.fold for run in self.runs],
            "images": len(self.table),
            "people": len(np.unique(self.people)),
            "positives": int(self.table["target"].sum()),
        }

    def parts(self) -> np.ndarray:
        """Return the (n,) part of each image for cross-fitting: its fold, or if there is one fold a part by person."""
        if len(self.runs) > 1:
            return self.table["fold"].to_numpy()
        count = min(PARTS, len(np.unique(self.people)))
        parts = np.zeros(len(self.table), dtype=np.int64)
        if count > 1:
            for part, (_, rows) in enumerate(GroupKFold(count).split(parts, groups=self.people)):
                parts[rows] = part
        return parts


def read_held_out(text: str) -> HeldOut:
    """Read a run's folder, or an experiment's folder with fold0, fold1, ... in it.

    Raises:
        BadInput: no finished run there, or one without its held-out table or predictions.
    """
    folder = config.user_path(text) if text else Path()
    folders = [folder] if (folder / "config.yaml").is_file() else sorted(folder.glob("fold*"))
    runs = [run for run in map(Run, folders) if run.is_done]
    if not text or not runs:
        raise bad_input(text or "run", "has no finished run", "give run=runs/DATASET/EXPERIMENT, or a fold in it")
    kind = runs[0].done()["kind"]
    tables = []
    for run in runs:
        if not (run.folder / "held_out.csv").is_file():
            raise bad_input(run.folder, "has no held_out.csv", "train the run again")
        table = pd.read_csv(run.folder / "held_out.csv", dtype=TEXT, keep_default_na=False, na_values={"age": [""]})
        if kind == "classifier":
            predictions = read_classes(run.table("oof", kind))
            missing = sorted(set(table["patientId"]) - set(predictions.ids))
            if missing:
                what = f"lacks {len(missing)} held-out images, the first is {missing[0]}"
                raise bad_input(run.table("oof", kind), what, "train the run again")
            table["opacity"] = predictions.select(table["patientId"].tolist()).opacity
        tables.append(table)
    whole_table = pd.concat(tables, ignore_index=True)
    return HeldOut(folder, runs, kind, whole_table, pd.factorize(whole_table["group"])[0])
