"""`./run.sh train`: one run here, or jobs, a process each."""

import os

from pneumonia import config, schema
from pneumonia.commands.folds_and_runs import run_of, wanted_folds, words_of
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.jobs.executors import run_all
from pneumonia.jobs.job import THREAD_VARIABLES, TrainJob, train_command
from pneumonia.training.settings import check_experiment


def train(settings: schema.Train) -> dict:
    """`./run.sh train`: one run, here; or jobs, each a process of its own: of every fold, on Ray, with job_threads."""
    wanted, preset, experiment = wanted_folds(settings), settings.chosen_preset(), config.experiment_of(settings)
    check_experiment(experiment, settings.split)
    set_threads(experiment.threads)
    is_here = len(wanted) == 1 and settings.executor == "local" and settings.job_threads <= 0
    data = prepare(settings, resolve(settings), [experiment.image_size])
    runs = [run_of(data, settings.experiment, preset, experiment, fold, settings.out) for fold in wanted]
    changed = config.difference(
        config.as_tree(config.read_experiment(settings.experiment, preset)), config.as_tree(experiment)
    )
    if is_here:
        from pneumonia.commands.train_run import train_run

        title = f"{settings.experiment} fold {wanted[0]}"
        words = words_of(settings, preset, settings.experiment, wanted[0], changed)
        train_run(runs[0], experiment, data, title, words, settings.nih)
    else:
        out = (f"out={config.user_path(settings.out)}",) if settings.out else ()
        commands = [
            train_command((*words_of(settings, preset, settings.experiment, fold, changed), *out)) for fold in wanted
        ]
        run_all(
            [
                TrainJob(f"fold {fold}", run.folder, command, experiment.devices)
                for fold, run, command in zip(wanted, runs, commands)
            ],
            settings.executor,
            settings.ray_address,
            settings.job_threads,
        )
    print("\n".join(str(run.folder) for run in runs))
    unmapped = data.unmapped.as_json() if data.unmapped else None
    return {"runs": [run.folder for run in runs], "unmapped": unmapped}


def set_threads(threads: int) -> None:
    """Threads of one operation, in this process and before TensorFlow starts; 0 leaves it at one per core."""
    if threads > 0:
        os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads))
