"""Which folds and runs a command line means, and what a run's folder says before the run is begun."""

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


def write_run(
    run: Run, experiment: schema.Experiment, data: Prepared, title: str, settings: schema.Job, nih: str = ""
) -> None:
    """Put into the run's folder all that its own process starts from: settings, and where the prepared data lies.

    Raises:
        BadInput: the folder holds a run of other settings or data.
    """
    run.write_settings(experiment, data.identity | {"fold": run.fold})
    source = settings.source() if settings.source() == "demo" else str(config.user_path(settings.source()))
    run.write_start(
        {
            "title": title,
            "source": source,
            "nih": str(config.user_path(nih)) if nih else "",
            "prepared": data.files(experiment.image_size),
        }
    )
