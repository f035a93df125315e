"""The main job on one page: from a folder of DICOMs to a scored submission."""

import dataclasses
import itertools
import time

from pneumonia import config, schema
from pneumonia.commands.folds_and_runs import Fold, job_threads, run_of, selected_folds, write_run
from pneumonia.commands.weights import with_weights
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.jobs.executors import run_all
from pneumonia.jobs.job import TrainJob, train_command
from pneumonia.jobs.local import gpu_names
from pneumonia.jobs.sharing import memory_of
from pneumonia.runs.run import Run
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
    jobs: list[TrainJob] = []
    runs: dict[str, list[Run]] = {name: [] for name in experiments}
    seeds = range(settings.seed, settings.seed + settings.seeds)
    for fold, seed, name in itertools.product(folds, seeds, experiments):  # every member once, then the next seed
        experiment = dataclasses.replace(experiments[name], seed=seed)
        run = run_of(data, name, preset, experiment, fold)
        title = f"{name} fold {fold}" + (f" seed {seed}" if settings.seeds > 1 else "")
        # a folder with a run of other settings is refused here, before any training
        write_run(run, experiment, data, title, settings)
        runs[name].append(run)
        if not run.is_done:
            command, memory = train_command(run.folder), memory_of(experiment)
            jobs.append(TrainJob(title, run.folder, command, experiment.devices, memory))
    page = submission_folder(settings, preset, data, list(runs), folds) / "report.html"
    report = UnfinishedReport(page, data, runs, settings.seed)
    if jobs:
        report.write()
        say(f"report: {page} (written again after each network)")
        threads = job_threads(settings, [experiments[name] for name in runs for _ in runs[name]])
        run_all(jobs, settings.executor, settings.ray_address, threads, report.write)
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
    if preset == "full" and settings.executor == "local" and not gpu_names():
        say("There is no GPU here, and preset=full is made for one: preset=quick is made for a CPU.")
