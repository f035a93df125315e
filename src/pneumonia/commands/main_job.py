"""The main job on one page: from a folder of DICOMs to a scored submission."""

import time

from pneumonia import config, schema
from pneumonia.commands.folds_and_runs import run_of, wanted_folds, write_run
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.jobs.executors import run_all
from pneumonia.jobs.job import TrainJob, train_command
from pneumonia.system.json_values import without_nan
from pneumonia.system.progress import say
from pneumonia.training.settings import check_experiment


def main_job(settings: schema.Job) -> dict:
    """Check, ingest, folds, train and predict with every member, ensemble, validate, score, report."""
    from pneumonia.commands.submit import make_submission, summary

    started = time.monotonic()
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
        for run in runs[name]:  # refuses one of an earlier job with other settings: the ensemble would be another
            write_run(run, each, data, f"{name} fold {run.fold}", settings)
    jobs = [
        TrainJob(f"{name} fold {run.fold}", run.folder, train_command(run.folder), each.devices)
        for of_fold in zip(*runs.values())
        for (name, each), run in zip(experiments.items(), of_fold)
        if not run.is_done
    ]
    run_all(jobs, settings.executor, settings.ray_address, settings.job_threads)
    result = make_submission(settings, preset, competition, data, runs, ensemble.get("recipe"))
    result["unmapped"] = data.unmapped.as_json() if data.unmapped else None
    result["seconds"] = round(time.monotonic() - started, 1)
    print(summary(result))
    return without_nan(result)


def announce(settings: schema.Job, preset: str, wanted: list[int]) -> None:
    source = settings.source()
    say(f"data: {source}, preset: {preset}, folds: {', '.join(map(str, wanted))} of {settings.n_folds}")
    if source == "demo":
        say("This is the synthetic demo: its scores say nothing about RSNA. data=DIR runs on the competition's folder.")
