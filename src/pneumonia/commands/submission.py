"""The main job's last stage: from the runs' prediction tables to a recipe, a submission, its scores and its page."""

import os

import numpy as np

from pneumonia import config, schema
from pneumonia.boxes.predictions import ClassProbabilities, Detections, write_classes
from pneumonia.boxes.submission import read_sample, validate, write_submission
from pneumonia.config import REPOSITORY
from pneumonia.data.competition import Competition
from pneumonia.data.folds import count_leaks
from pneumonia.data.prepared import Prepared
from pneumonia.data.samples import original_sizes
from pneumonia.ensemble import leaderboard
from pneumonia.ensemble.looks import final_scores
from pneumonia.ensemble.merge import Folds, apply_to_folds, fit_merge_maps, merge_folds
from pneumonia.ensemble.nested import FitResult, fit_nested, problem_of
from pneumonia.ensemble.recipe import Recipe, apply_to_sizes, image_probabilities, recipe_of, write_recipe
from pneumonia.ensemble.tune import Search
from pneumonia.metrics.auc import auc_interval
from pneumonia.metrics.intervals import mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores, mean_iou_map, read_truth
from pneumonia.reports.final_score import MARK, looks_text
from pneumonia.reports.job import write_report
from pneumonia.reports.job_view import job_view
from pneumonia.reports.model_card import group_scores, write_model_card
from pneumonia.reports.numbers import interval_text, json_interval, number_text, range_text
from pneumonia.reports.view import write_view
from pneumonia.runs.run import Run, by_fold
from pneumonia.runs.tables import held_out_tables, of_type, tables_of
from pneumonia.system.errors import BadInput
from pneumonia.system.files import write_json

VIEW_IMAGES = 6000  # the main job writes view.html for up to as many: one fold of the competition has 5,337
TRIALS = {"smoke": 5, "quick": 60, "full": 150}  # of the recipe's search, one per outer fold and one on everything


def make_submission(
    settings: schema.Job,
    preset: str,
    competition: Competition,
    data: Prepared,
    runs: dict[str, list[Run]],
    start: dict | None,
) -> dict:
    """Combine the members' runs into a submission; return the main job's JSON, without its seconds.

    Args:
        runs: {member: its runs, one per selected fold and seed}.
        start: the recipe from experiments/ensembles/ at which the search starts.
    """
    held_out = held_out_tables(runs)
    truth = Truth.from_lists(data.study["patientId"], data.study["boxes"])
    groups = dict(zip(data.study["patientId"], data.study["group"]))
    localizers, classifiers = of_type(held_out, Detections), of_type(held_out, ClassProbabilities)
    fitted = fit_nested(
        problem_of(localizers, classifiers, truth, groups),
        recipe_of({**(start or {}), "frame": data.frame}, "experiments/ensembles"),
        Search(TRIALS[preset], seed=settings.seed, title="ensemble"),
    )
    result = scores_of(fitted, truth, groups, classifiers, runs)
    folder = submission_folder(settings, preset, data, list(runs), list(by_fold(next(iter(runs.values())))))
    test_folds = tables_of(runs, "test")
    sizes = original_sizes(data.cache, next(iter(test_folds.values()))[0].ids)
    recipe = fit_merge_maps(fitted.recipe, test_folds)
    merged = merge_folds(recipe, test_folds)
    test = apply_to_sizes(recipe, *merged, sizes)
    test_probabilities = image_probabilities(recipe, *merged)
    sample = competition.sample
    write_submission(folder / "submission.csv", test, read_sample(sample, test.ids))
    faults = validate(folder / "submission.csv", sample, max(data.frame))
    if faults:
        raise BadInput(faults)
    write_classes(folder / "classes.csv", ClassProbabilities(test.ids, test_probabilities))
    write_recipe(folder / "recipe.yaml", recipe)
    split = next(iter(runs.values()))[0].start().get("split")
    labels = competition.test_labels or competition.final_labels
    if labels is not None and split:
        test_part = data.folds.loc[data.folds["fold"] == "test", "patientId"]
        add_test_aucs(result["members"], test_folds, read_truth(labels), set(test_part), competition.people())
    if competition.final_labels is not None:
        result |= final_scores(
            folder / "submission.csv",
            test,
            read_truth(competition.final_labels),
            competition.people(),
            family_of(settings, data),
            test_probabilities,
            seed=settings.seed,
        )
    if competition.test_labels is not None:
        test_truth = read_truth(competition.test_labels)
        result |= test_scores(test_truth, test, competition, settings.seed)
        result |= single_fold_scores(test_truth, recipe, test_folds, sizes)
    result = {
        "dataset": data.dataset,
        "preset": preset,
        "split": split,
        "folds": list(by_fold(next(iter(runs.values())))),
        "seeds": settings.seeds,
        "submission": folder / "submission.csv",
        "classes": folder / "classes.csv",
        "recipe": folder / "recipe.yaml",
        "report": folder / "report.html",
        "model_card": folder / "model_card.md",
        "images_held_out": len(fitted.detections),
        "people_held_out": len(set(people_of(fitted.detections.ids, groups).tolist())),
        "leaking_people": count_leaks(data.folds)[0] if data.mapping else None,
        "test_images": len(test),
        "runs": {
            name: [os.path.relpath(run.folder, REPOSITORY) for run in member_runs] for name, member_runs in runs.items()
        },
        **result,
        "subgroups": group_scores(data.study, truth, fitted.detections, fitted.probabilities, settings.seed)
        if fitted.fold_recipes
        else [],
    }
    result["view"] = None
    if len(fitted.detections) <= VIEW_IMAGES:
        view = job_view(result, data, localizers, classifiers, fitted.recipe)
        result["view"] = write_view(folder, view, schema.View.image_size)
    write_model_card(folder / "model_card.md", result, data, runs)
    write_report(folder / "report.html", data, result, runs, truth, fitted.detections, folder / "recipe.yaml")
    leaderboard.add_submission(folder, fitted, data=data.dataset, family=family_of(settings, data))
    write_json(folder / "result.json", result)
    return result


def scores_of(
    fitted: FitResult,
    truth: Truth,
    groups: dict,
    classifiers: dict[str, ClassProbabilities],
    runs: dict[str, list[Run]],
) -> dict:
    """Scores of the ensemble and of each member on the held-out images.

    `held_out_auc` is that of each image's probability of an opacity, by the recipes that the score is by.
    """
    members: dict[str, dict] = {}
    for name, member_runs in runs.items():
        seconds = sum(run.done()["seconds"] for run in member_runs)
        members[name] = {"kind": member_runs[0].done()["kind"], "seconds": seconds}
        if name in fitted.members:
            interval = fitted.members[name]
            members[name] |= {"held_out_score": interval.value, "low": interval.low, "high": interval.high}
    for name, table in classifiers.items():
        interval = auc_interval(truth.select(table.ids).positive, table.opacity, people_of(table.ids, groups))
        member = members.setdefault(name, {"kind": "output for the whole image", "seconds": 0.0})
        member |= {"auc": interval.value, "low": interval.low, "high": interval.high}
    return {
        "held_out_score": fitted.nested_score,
        "held_out_low": fitted.low,
        "held_out_high": fitted.high,
        "fitted_score": fitted.fitted_score,
        "held_out_auc": json_interval(fitted.auc) if fitted.auc else None,
        "members": members,
    }


def test_scores(truth: Truth, test: Detections, competition: Competition, seed: int) -> dict:
    """The submission's score on the demo's test labels, with an interval over people."""
    scores = image_scores(truth, test)
    interval = mean_interval(scores, people_of(test.ids, competition.people()), seed=seed)
    return {"test_score": interval.value, "test_low": interval.low, "test_high": interval.high}


def add_test_aucs(members: dict, folds: Folds, truth: Truth, images: set[str], people: dict[str, str]) -> None:
    """Add each classifier's AUC on a published split's test images, as `test_auc` {value, low, high}."""
    for name, (table, *_) in folds.items():
        if isinstance(table, ClassProbabilities):
            ids = [image for image in table.ids if image in images.intersection(truth.ids)]
            scores = table.select(ids).opacity
            interval = auc_interval(truth.select(ids).positive, scores, people_of(ids, people))
            members[name]["test_auc"] = json_interval(interval)


def single_fold_scores(truth: Truth, recipe: Recipe, folds: Folds, sizes: np.ndarray) -> dict:
    """Scores of the recipe on the test predictions of each fold alone, to compare with the merged folds."""
    count = len(next(iter(folds.values())))
    if count == 1:
        return {}
    singles = [{name: [tables[fold]] for name, tables in folds.items()} for fold in range(count)]
    scores = [mean_iou_map(truth, apply_to_folds(recipe, fold, sizes)) for fold in singles]
    return {"test_scores_of_single_folds": scores}


def family_of(settings: schema.Job, data: Prepared) -> str:
    """The name of all submissions of an ensemble on this data, whatever their other settings."""
    return f"{data.name} {settings.ensemble}"


def submission_folder(settings: schema.Job, preset: str, data: Prepared, members: list[str], folds: list[int]):
    """submissions/<name>/: the name has dataset, ensemble, preset, folds and several seeds, and a hash of all settings
    and data."""
    if settings.out:
        return config.user_path(settings.out)
    fold = "all" if len(folds) > 1 else str(folds[0])
    experiments = [config.read_experiment(name, preset, {"seed": settings.seed}) for name in members]
    experiments = [config.effective_settings(experiment) for experiment in experiments]
    key = config.short_hash([data.identity, config.read_ensemble(settings.ensemble), experiments, folds])
    seeds = f"-seeds{settings.seeds}" if settings.seeds > 1 else ""
    return REPOSITORY / "submissions" / f"{data.name}-{settings.ensemble}-{preset}-fold{fold}{seeds}-{key}"


def summary(result: dict) -> str:
    """The text at the end of the job: scores and the paths of the written files."""
    lines = ["", f"{'member':24s} {'held-out score alone':>22s}"]
    for name, member in result["members"].items():
        metric, value = ("AUC", member["auc"]) if "auc" in member else ("IoU-mAP", member["held_out_score"])
        lines.append(f"{name:24s} {metric:>9s} {value:.3f} ({member['low']:.3f}-{member['high']:.3f})")
    interval = f"({result['held_out_low']:.3f}-{result['held_out_high']:.3f})"
    lines += [
        f"{'ensemble':24s} {'IoU-mAP':>9s} {result['held_out_score']:.3f} {interval}",
        f"{'  tuned on itself':24s} {'IoU-mAP':>9s} {result['fitted_score']:.3f} (optimistic)",
    ]
    if result["held_out_auc"]:
        lines.append(f"{'  whole images':24s} {'AUC':>9s} {interval_text(result['held_out_auc'])}")
    if "test_score" in result:
        interval = f"({result['test_low']:.3f}-{result['test_high']:.3f})"
        singles = result.get("test_scores_of_single_folds", [])
        if singles:
            mean = sum(singles) / len(singles)
            lines.append(f"{'  test images, one fold':24s} {'IoU-mAP':>9s} {mean:.3f} (mean of {len(singles)})")
        lines += [
            f"{'  test images':24s} {'IoU-mAP':>9s} {result['test_score']:.3f} {interval}",
            "\nThis is the synthetic demo: its scores say nothing about RSNA.",
        ]
    if "final_score" in result:
        interval = range_text(result["final_low"], result["final_high"])
        lines.append(f"{'  ' + MARK:24s} {'IoU-mAP':>9s} {number_text(result['final_score'])} ({interval})")
        if result["final_auc"]:
            lines.append(f"{'  ' + MARK:24s} {'AUC':>9s} {interval_text(result['final_auc'])}")
        lines.append(f"  {looks_text(result)}")
    lines += ["", f"submission  {result['submission']}", f"report      {result['report']}"]
    return "\n".join(lines)
