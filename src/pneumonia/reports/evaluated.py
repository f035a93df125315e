"""Finished runs read back for evaluation: what was held out, with what each run predicted for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from pneumonia import config
from pneumonia.boxes.predictions import read_classes
from pneumonia.runs.run import Run
from pneumonia.system.errors import bad_input

TEXT = dict.fromkeys(("patientId", "class", "group", "sex", "view", "boxes"), str)  # `NA` is an id like any other
PARTS = 5  # of a single fold, for thresholds that are fitted on other people than they are scored on


@dataclass(frozen=True)
class Evaluated:
    """One experiment's finished runs.

    folder: the run's, or the experiment's, as given. kind: classifier or localizer.
    table: a row per held-out image: patientId, target, class, group, sex, age, view, fold, boxes; of classifiers also
        opacity. people: (n,) person of each row, numbered from 0.
    """

    folder: Path
    runs: list[Run]
    kind: str
    table: pd.DataFrame
    people: np.ndarray

    @property
    def name(self) -> str:
        """The experiment, as its folder is called."""
        run = self.runs[0]
        return run.folder.parent.relative_to(run.dataset).as_posix()

    def described(self) -> dict:
        """What was held out, for the JSON."""
        return {
            "experiment": self.name,
            "dataset": self.runs[0].dataset.name,
            "folds": [run.fold for run in self.runs],
            "images": len(self.table),
            "people": len(np.unique(self.people)),
            "positives": int(self.table["target"].sum()),
        }

    def parts(self) -> np.ndarray:
        """(n,) part of each image for cross-fitting: its fold, or within a single fold one of five by person."""
        if len(self.runs) > 1:
            return self.table["fold"].to_numpy()
        count = min(PARTS, len(np.unique(self.people)))
        parts = np.zeros(len(self.table), dtype=np.int64)
        if count > 1:
            for part, (_, own) in enumerate(GroupKFold(count).split(parts, groups=self.people)):
                parts[own] = part
        return parts


def read_evaluated(text: str) -> Evaluated:
    """A run's folder, or an experiment's with fold0, fold1, ... in it.

    Raises:
        BadInput: no finished run there, or one whose held-out table is missing.
    """
    folder = config.user_path(text) if text else Path()
    runs = [Run(folder)] if (folder / "config.yaml").is_file() else [Run(each) for each in sorted(folder.glob("fold*"))]
    done = [run for run in runs if run.is_done]
    if not text or not done:
        raise bad_input(text or "run", "holds no finished run", "give run=runs/DATASET/EXPERIMENT, or a fold in it")
    kind = done[0].done()["kind"]
    tables = []
    for run in done:
        if not (run.folder / "held_out.csv").is_file():
            raise bad_input(run.folder, "has no held_out.csv", "it is of an older version: train it again")
        table = pd.read_csv(run.folder / "held_out.csv", dtype=TEXT, keep_default_na=False, na_values={"age": [""]})
        if kind == "classifier":
            predicted = read_classes(run.table("oof", kind))
            missing = sorted(set(table["patientId"]) - set(predicted.ids))
            if missing:
                what = f"lacks {len(missing)} held-out images, the first is {missing[0]}"
                raise bad_input(run.table("oof", kind), what, "train the run again")
            table["opacity"] = predicted.select(table["patientId"].tolist()).opacity
        tables.append(table)
    joined = pd.concat(tables, ignore_index=True)
    return Evaluated(folder, done, kind, joined, pd.factorize(joined["group"])[0])
