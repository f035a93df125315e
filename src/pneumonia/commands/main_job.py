"""The main job on one page: from a folder of DICOMs to a scored submission; and `train`, one run of it."""

import json
import os
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection

from pneumonia import config, schema
from pneumonia.config import REPOSITORY
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import Prepared, prepare
from pneumonia.jobs.executors import check_executor, run_all
from pneumonia.jobs.job import THREAD_VARIABLES, TrainJob, train_command
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.files import without_nan
from pneumonia.system.processes import deaf_to_ctrl_c
from pneumonia.system.progress import say
from pneumonia.system.quiet import import_keras_quietly
from pneumonia.training.settings import check_experiment

Fold = int | str  # a number, or `report`


def main_job(settings: schema.Job) -> dict:
    """Check, ingest, folds, train and predict with every member, ensemble, validate, score, report."""
    from pneumonia.commands.submit import make_submission, summary

    started = time.monotonic()
    check_executor(settings.executor)
    ensemble = config.read_ensemble(settings.ensemble)
    preset, wanted = settings.chosen_preset(), wanted_folds(settings)
    experiments = {name: config.read_experiment(name, preset, {"seed": settings.seed}) for name in ensemble["members"]}
    for experiment in experiments.values():
        check_experiment(experiment, settings.split)
    competition = resolve(settings)
    announce(settings, preset, wanted)
    data = prepare(settings, competition, [experiment.image_size for experiment in experiments.values()])
    runs = {name: [run_of(data, name, preset, each, fold) for fold in wanted] for name, each in experiments.items()}
    for name, each in experiments.items():
        for run in runs[name]:  # of an earlier job: made of the same settings, or the ensemble would be another
            run.refuse_other(each, data.identity | {"fold": run.fold})
    run_all(
        [
            TrainJob(
                f"{name} fold {fold}", run.folder, train_command(words_of(settings, preset, name, fold)), each.devices
            )
            for position, fold in enumerate(wanted)
            for name, each in experiments.items()
            if not (run := runs[name][position]).is_done
        ],
        settings.executor,
        settings.ray_address,
        settings.job_threads,
    )
    result = make_submission(settings, preset, data, runs, ensemble.get("recipe"))
    result["seconds"] = round(time.monotonic() - started, 1)
    print(summary(result))
    return without_nan(result)


def train(settings: schema.Train) -> dict:
    """`./run.sh train`: one run, here; or jobs, each a process of its own: of every fold, on Ray, with job_threads."""
    check_executor(settings.executor)
    wanted, preset, experiment = wanted_folds(settings), settings.chosen_preset(), config.experiment_of(settings)
    check_experiment(experiment, settings.split)
    set_threads(experiment.threads)
    is_here = len(wanted) == 1 and settings.executor == "local" and settings.job_threads <= 0
    if is_here:
        refuse_impossible(experiment)
    else:
        refuse_impossible_elsewhere(experiment)
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
    return {"runs": [run.folder for run in runs]}


def refuse_impossible(experiment: schema.Experiment) -> None:
    """Raises BadInput for what no network of its family can be."""
    import_keras_quietly()
    from pneumonia.models.registry import family

    family(experiment.model, experiment.image_size, experiment.loss)


def refuse_impossible_elsewhere(experiment: schema.Experiment) -> None:
    """The same, found out in a process that ends: Keras, awake in this one, would hold GPU memory that jobs need."""
    context = get_context("spawn")
    faults, theirs = context.Pipe(duplex=False)
    child = context.Process(target=tell_impossible, args=(experiment, theirs), daemon=True)
    with deaf_to_ctrl_c():
        child.start()
    theirs.close()
    try:
        if found := faults.recv():
            raise BadInput(found)
    except EOFError:
        pass  # it died of something else, which the jobs will say
    finally:
        child.kill()
        child.join()


def tell_impossible(experiment: schema.Experiment, faults: Connection) -> None:
    try:
        refuse_impossible(experiment)
        faults.send([])
    except BadInput as error:
        faults.send(error.faults)
    except Exception:  # which the jobs will meet, and say
        faults.close()


def set_threads(threads: int) -> None:
    """Threads of one operation, in this process and before TensorFlow starts; 0 leaves it at one per core."""
    if threads > 0:
        os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads))


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


def announce(settings: schema.Job, preset: str, wanted: list[int]) -> None:
    source = settings.source()
    say(f"data: {source}, preset: {preset}, folds: {', '.join(map(str, wanted))} of {settings.n_folds}")
    if source == "demo":
        say("This is the synthetic demo: its scores say nothing about RSNA. data=DIR runs on the competition's folder.")


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
        "clip_boxes": settings.clip_boxes,
        "preset": preset,
        "workers": settings.workers,
        "n_folds": settings.n_folds,
        "folds_seed": settings.folds_seed,
        "holdout": settings.holdout if settings.holdout == "stage1" else absolute(settings.holdout),
        "seed": settings.seed,
        "nih": absolute(getattr(settings, "nih", "")),
    }
    given = {key: value for key, value in words.items() if value != ""} | (changed or {})
    return tuple(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items())
