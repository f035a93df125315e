"""Which folds and runs a command line means, and the command line of one run."""

import json

from pneumonia import config, schema
from pneumonia.config import REPOSITORY
from pneumonia.data.prepared import Prepared
from pneumonia.runs.run import Run
from pneumonia.system.errors import bad_input

Fold = int | str  # a number, or `report`


def wanted_folds(settings: schema.Job) -> list[Fold]:
    """Raises BadInput for a fold that the fold table will not have."""
    if settings.split:
        return [settings.split]
    every = [str(fold) for fold in range(settings.n_folds)]
    if settings.fold == "all":
        return list(range(settings.n_folds))
    if settings.fold not in every:
        known = f"{', '.join(every)} or all"
        raise bad_input("fold", f"there is no fold '{settings.fold}' of {settings.n_folds}", f"choose {known}")
    return [int(settings.fold)]


def run_of(data: Prepared, name: str, preset: str, experiment: schema.Experiment, fold: Fold, out: str = "") -> Run:
    """runs/<dataset>/<experiment>/fold<k>/, or fold-report/."""
    root = config.user_path(out) if out else REPOSITORY / "runs"
    label = config.experiment_label(name, preset, experiment)
    return Run(root / data.dataset / label / (f"fold{fold}" if isinstance(fold, int) else f"fold-{fold}"))


def absolute(path: str) -> str:
    """A path that means the same from any folder: `rerun` may be called from another one."""
    return str(config.user_path(path)) if path else ""


def words_of(settings: schema.Job, preset: str, name: str, fold: Fold, changed: dict | None = None) -> tuple[str, ...]:
    """The command line of one run, as `./run.sh train` takes it."""
    words = {
        "experiment": name,
        "fold": "" if settings.split else fold,
        "split": settings.split,
        "data": settings.source() if settings.source() == "demo" else absolute(settings.source()),
        "mapping": absolute(settings.mapping),
        "allow_unmapped": settings.allow_unmapped,
        "clip_boxes": settings.clip_boxes,
        "preset": preset,
        "workers": settings.workers,
        "n_folds": settings.n_folds,
        "folds_seed": settings.folds_seed,
        "holdout": settings.holdout if settings.holdout == "stage1" else absolute(settings.holdout),
        "seed": settings.seed,
        "nih": absolute(getattr(settings, "nih", "")),
    }
    changed = {key: value for key, value in (changed or {}).items() if value is not None}  # of another family
    given = {key: value for key, value in words.items() if value != ""} | changed
    return tuple(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items())
