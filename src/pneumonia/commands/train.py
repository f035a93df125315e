"""`./run.sh train`: one run in this process, or several in a process each; `train_run`: a prepared run."""

import os

from pneumonia import config, schema
from pneumonia.commands.folds_and_runs import job_threads, run_of, selected_folds, write_run
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare, read_prepared
from pneumonia.jobs.executors import run_all
from pneumonia.jobs.job import THREAD_VARIABLES, TrainJob, train_command
from pneumonia.jobs.sharing import memory_of
from pneumonia.runs.run import Run, experiment_of
from pneumonia.system.keras_import import import_keras_quietly
from pneumonia.training.settings import check_experiment


def train(settings: schema.Train) -> dict:
    """Train one fold in this process; several folds, with Ray or with job_threads, as jobs in a process each."""
    folds, preset, experiment = selected_folds(settings), settings.chosen_preset(), config.experiment_of(settings)
    check_experiment(experiment, settings.split)
    set_threads(experiment.threads)
    runs_here = len(folds) == 1 and settings.executor == "local" and settings.job_threads <= 0
    data = prepare(settings, resolve(settings), [experiment.image_size])
    runs = [run_of(data, settings.experiment, preset, experiment, fold, settings.out) for fold in folds]
    for run in runs:
        write_run(run, experiment, data, title_of(settings, run), settings, settings.nih)
    if runs_here:
        train_prepared(runs[0])
    else:
        memory = memory_of(experiment)
        jobs = [
            TrainJob(title_of(settings, run), run.folder, train_command(run.folder), experiment.devices, memory)
            for run in runs
        ]
        run_all(jobs, settings.executor, settings.ray_address, job_threads(settings, [experiment] * len(runs)))
    print("\n".join(str(run.folder) for run in runs))
    unmapped = data.unmapped.as_json() if data.unmapped else None
    return {"runs": [run.folder for run in runs], "unmapped": unmapped}


def title_of(settings: schema.Train, run: Run) -> str:
    return f"{settings.experiment} fold {run.fold}"


def train_run(settings: schema.TrainRun) -> dict:
    """Train the run that the main job or `train` has prepared in a folder, in this process."""
    run = Run(config.required_path(settings.run, "run", "the run's folder"))
    train_prepared(run)
    print(run.folder)
    return {"runs": [run.folder]}


def train_prepared(run: Run) -> None:
    """Train from what is prepared in the run's folder; nothing else of the competition is read."""
    start, experiment = run.start(), experiment_of(run)
    set_threads(experiment.threads)
    data = read_prepared(start["prepared"])
    import_keras_quietly()
    from pneumonia.commands.train_run import train_run

    train_run(run, experiment, data, start["title"], start["nih"])


def set_threads(threads: int) -> None:
    """Set the threads of one operation in this process, before TensorFlow starts; 0 keeps one per core."""
    if threads > 0:
        os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads))
