"""The main job on one page: from a folder of DICOMs to a scored submission."""

import dataclasses
import time

from pneumonia import config, schema
from pneumonia.commands.folds_and_runs import Fold, run_of, selected_folds, write_run
from pneumonia.commands.weights import with_weights
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.jobs.executors import run_all
from pneumonia.jobs.job import TrainJob, train_command
from pneumonia.system.json_values import without_nan
from pneumonia.system.progress import say
from pneumonia.training.settings import check_experiment


def main_job(settings: schema.Job) -> dict:
    """Check, ingest, folds, train and predict with every member, ensemble, validate, score, report."""
    from pneumonia.commands.submission import make_submission, submission_folder, summary
    from pneumonia.reports.unfinished import UnfinishedReport

    start = time.monotonic()
    settings = dataclasses.replace(settings, ensemble=settings.chosen_ensemble())
    ensemble = config.read_ensemble(settings.ensemble)
    preset, folds = settings.chosen_preset(), selected_folds(settings)
    experiments = {name: config.read_experiment(name, preset, {"seed": settings.seed}) for name in ensemble["members"]}
    for experiment in experiments.values():
        check_experiment(experiment, settings.split)
    competition = resolve(settings)
    print_start(settings, preset, folds)
    experiments = with_weights(experiments, settings.ensemble, preset)
    data = prepare(settings, competition, [experiment.image_size for experiment in experiments.values()])
    runs = {
        name: [run_of(data, name, preset, experiment, fold) for fold in folds]
        for name, experiment in experiments.items()
    }
    for name, experiment in experiments.items():
        for run in runs[name]:  # a folder with a run of other settings is refused here, before any training
            write_run(run, experiment, data, f"{name} fold {run.fold}", settings)
    jobs = [
        TrainJob(f"{name} fold {run.fold}", run.folder, train_command(run.folder), experiment.devices)
        for fold_runs in zip(*runs.values())  # all members of one fold, then of the next
        for (name, experiment), run in zip(experiments.items(), fold_runs)
        if not run.is_done
    ]
    page = submission_folder(settings, preset, data, list(runs), folds) / "report.html"
    report = UnfinishedReport(page, data, runs, settings.seed)
    if jobs:
        report.write()
        say(f"report: {page} (written again after each network)")
    run_all(jobs, settings.executor, settings.ray_address, settings.job_threads, report.write)
    result = make_submission(settings, preset, competition, data, runs, ensemble.get("recipe"))
    result["unmapped"] = data.unmapped.as_json() if data.unmapped else None
    result["seconds"] = round(time.monotonic() - start, 1)
    print(summary(result))
    return without_nan(result)


def print_start(settings: schema.Job, preset: str, folds: list[Fold]) -> None:
    source = settings.source()
    names = ", ".join(map(str, folds))
    say(f"data: {source}, ensemble: {settings.ensemble}, preset: {preset}, folds: {names} of {settings.n_folds}")
    if source == "demo":
        say("This is the synthetic demo: its scores say nothing about RSNA. data=DIR runs on the competition's folder.")
