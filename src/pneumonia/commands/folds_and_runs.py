"""The folds and runs of a command line, and the preparation of a run's folder."""

from collections.abc import Sequence

from pneumonia import config, schema
from pneumonia.config import REPOSITORY
from pneumonia.data.folds import describe_split
from pneumonia.data.prepared import Prepared
from pneumonia.data.published_split import PUBLISHED, REPORT
from pneumonia.jobs.local import gpu_names
from pneumonia.jobs.sharing import memory_of, threads_of_jobs
from pneumonia.runs.run import Run
from pneumonia.system.errors import bad_input
from pneumonia.training.other_runs import needs_other_runs

Fold = int | str  # a number, `report` or `published`


def selected_folds(settings: schema.Training) -> list[Fold]:
    """The folds to train. Raises BadInput for a fold that the fold table will not have, or beside split=."""
    if settings.split:
        if settings.fold != schema.Training().fold:
            raise bad_input("fold", "has no effect beside split=, which is trained once", "leave it out")
        return [REPORT if settings.split == REPORT else PUBLISHED]
    folds = list(range(settings.n_folds))
    if settings.fold == "all":
        return folds
    names = [str(fold) for fold in folds]
    if settings.fold not in names:
        fix = f"choose {', '.join(names)} or all"
        raise bad_input("fold", f"there is no fold '{settings.fold}' of {settings.n_folds}", fix)
    return [int(settings.fold)]


def run_of(data: Prepared, name: str, preset: str, experiment: schema.Experiment, fold: Fold, out: str = "") -> Run:
    """The run in runs/<dataset>/<experiment>/fold<k>/ (or fold-report/, fold-published/); `out` replaces runs/."""
    root = config.user_path(out) if out else REPOSITORY / "runs"
    label = config.experiment_label(name, preset, experiment)
    return Run(root / data.dataset / label / (f"fold{fold}" if isinstance(fold, int) else f"fold-{fold}"))


def write_run(
    run: Run, experiment: schema.Experiment, data: Prepared, title: str, settings: schema.Training, nih: str = ""
) -> None:
    """Write what the run's own process reads first into its folder: settings, and the paths of the prepared data.

    Raises:
        BadInput: the folder has a run with other settings or data.
    """
    run.write_settings(experiment, data.identity | {"fold": run.fold})
    source = settings.source() if settings.source() == "demo" else str(config.user_path(settings.source()))
    split = describe_split(data.folds, data.study, data.mapping is not None) if run.fold == PUBLISHED else None
    run.write_start(
        {
            "title": title,
            "source": source,
            "nih": str(config.user_path(nih)) if nih else "",
            "prepared": data.files(experiment.image_size),
            "split": split,
        }
    )


def job_threads(settings: schema.Training, experiments: Sequence[schema.Experiment]) -> int:
    """Threads of each of a command's runs; 0: one per core, one run at a time where there is no GPU.

    Args:
        experiments: of each run of the command, also of those that are done.
    """
    if settings.job_threads or settings.executor != "local" or gpu_names():
        return settings.job_threads
    # runs that others start from may be among these, and before them in the list
    if any(experiment.threads or needs_other_runs(experiment) for experiment in experiments):
        return 0
    return threads_of_jobs([memory_of(experiment) for experiment in experiments])
