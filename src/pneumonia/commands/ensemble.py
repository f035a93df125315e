"""`./run.sh ensemble` and `./run.sh apply`: fit a recipe on prediction files, and apply it to new ones."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pneumonia import config, schema
from pneumonia.boxes.exchange.reading import content_sha256, predicted_ids, read_predictions
from pneumonia.boxes.geometry import reach_beyond
from pneumonia.boxes.image_ids import ids_file, read_ids
from pneumonia.boxes.predictions import (
    ClassProbabilities,
    Detections,
    classes_file,
    read_classes,
    write_classes,
    write_detections,
)
from pneumonia.boxes.submission import read_sample, write_submission
from pneumonia.commands.member_files import in_recipe_order, named_files, read_all
from pneumonia.data.final_test_set import ids_of_test_set, refuse_test_rows
from pneumonia.data.people import check_people, read_people
from pneumonia.data.tables import read_labels
from pneumonia.ensemble import leaderboard
from pneumonia.ensemble.nested import FitResult, check_same_images, fit_nested, problem_of
from pneumonia.ensemble.recipe import Recipe, image_probabilities, read_recipe, write_recipe
from pneumonia.ensemble.recipe import apply as apply_recipe
from pneumonia.ensemble.stage1 import fit_tuned_on
from pneumonia.ensemble.tune import Problem, Search
from pneumonia.metrics.iou_map import read_truth
from pneumonia.reports.numbers import json_interval
from pneumonia.system.errors import bad_input
from pneumonia.system.files import write_json
from pneumonia.system.json_values import without_nan


def fit(settings: schema.Ensemble) -> dict:
    """Fit a recipe with its nested score; write recipe.yaml, submission.csv, nested.csv, result.json, and classes.csv,
    the images' probabilities of an opacity."""
    files = named_files(settings.members, "members", required=True)
    gates = named_files(settings.classifiers, "classifiers")
    labels = config.required_path(settings.labels, "labels", "the label table")
    refuse_test_images(settings, labels)
    start = read_recipe(config.user_path(settings.recipe)) if settings.recipe else Recipe()
    search = Search(settings.trials or Search.trials, settings.seconds, settings.seed, "ensemble")
    groups, unmapped = read_groups(settings, next(iter(files.values())))
    folder = config.user_path(settings.out) if settings.out else default_folder(settings, [*files.values(), labels])
    if folder.exists() and not folder.is_dir():
        raise bad_input(folder, "is a file", "give out= the name of a folder")

    def read_problem() -> Problem:
        """Read the tables. Only the fit holds them, so that it can free their memory; the submission reads again."""
        members, classifiers = read_all(files, read_predictions), read_all(gates, read_classes)
        problem = problem_of(members, classifiers, read_truth(labels), groups)
        check_frame({"labels": problem.truth.boxes} | {name: table.boxes for name, table in members.items()}, start)
        sample_ids(settings.sample, problem.truth.ids)  # refused before the fit, which may take hours
        return problem

    if settings.tune_on:
        ids = read_ids(ids_file(settings.tune_on, labels.parent, "tune_on"))
        fitted = fit_tuned_on(ids, read_problem(), start, search, settings.draws)
    else:
        fitted = fit_nested(read_problem(), start, search, settings.draws)

    # the same as `apply` on these files, because it uses the written recipe and not the one in memory
    write_recipe(folder / "recipe.yaml", fitted.recipe, recipe_comment(fitted))
    detections, classes = apply_to_files(read_recipe(folder / "recipe.yaml"), files, gates)
    write_submission(folder / "submission.csv", detections, sample_ids(settings.sample, detections.ids))
    write_classes(folder / "classes.csv", classes)
    if fitted.fold_recipes:
        write_detections(folder / "nested.csv", fitted.detections)
    result = {
        "nested_score": fitted.nested.value,
        "low": fitted.nested.low,
        "high": fitted.nested.high,
        "fitted_score": fitted.fitted_score,
        "auc": json_interval(fitted.auc) if fitted.auc else None,
        "members": {name: interval.value for name, interval in fitted.members.items()},
        "added": {name: interval.value for name, interval in fitted.gains.items()},
        "unstable": fitted.unstable,
        "unmapped": unmapped,
        "recipe": folder / "recipe.yaml",
        "classes": folder / "classes.csv",
        "submission": folder / "submission.csv",
    }
    result = without_nan(result)
    write_json(folder / "result.json", result)
    leaderboard.add_submission(folder, fitted, data=str(labels), family=family_of([*files, *gates]))
    print(format_scores(fitted))
    print(f"recipe:      {folder / 'recipe.yaml'}\nsubmission:  {folder / 'submission.csv'}")
    return result


def check_frame(tables: dict[str, np.ndarray], recipe: Recipe) -> None:
    """Raises BadInput where a table's boxes, (n, 4), reach beyond the recipe's frame: they would be cut to it."""
    width, height = recipe.frame
    for name, boxes in tables.items():
        if reach := reach_beyond(boxes, width, height):
            what = f"its boxes reach {reach[0]:g}, {reach[1]:g}, beyond the recipe's frame of {width:g} x {height:g}"
            fix = "write the images' size into the recipe, such as frame: [2048, 2048]"
            raise bad_input(name, what, fix)


def family_of(names: Sequence[str]) -> str:
    """The name of all submissions fitted on these members."""
    return " + ".join(sorted(Path(name).stem for name in names))


def refuse_test_images(settings: schema.Ensemble, labels: Path) -> None:
    """Raises BadInput where labels= or tune_on= has images of the test set, of which no label may enter a fit."""
    test_ids = ids_of_test_set(labels, config.user_path(settings.test_ids) if settings.test_ids else None)
    if not test_ids:
        return
    refuse_test_rows(read_labels(labels, [], uuids=False).mentioned.items(), test_ids, labels)
    if settings.tune_on:
        file = ids_file(settings.tune_on, labels.parent, "tune_on")
        refuse_test_rows([(name, None) for name in read_ids(file)], test_ids, file)


def apply(settings: schema.Apply) -> dict:
    """Apply a fitted recipe to new prediction files; write the submission, beside it the images' probabilities of an
    opacity, and return their paths."""
    recipe_file = config.required_path(settings.recipe, "recipe", "the recipe.yaml of an ensemble")
    recipe = read_recipe(recipe_file)
    files = in_recipe_order(settings.members, [part.name for part in recipe.members], "members")
    gates = in_recipe_order(settings.classifiers, [part.name for part in recipe.classifiers], "classifiers")
    detections, classes = apply_to_files(recipe, files, gates)
    out = config.user_path(settings.out) if settings.out else recipe_file.with_name("applied.csv")
    write_submission(out, detections, sample_ids(settings.sample, detections.ids))
    write_classes(classes_file(out), classes)
    print(f"submission:  {out}\nprobabilities of an opacity:  {classes_file(out)}")
    return {"submission": out, "classes": classes_file(out)}


def apply_to_files(
    recipe: Recipe, files: dict[str, Path], gates: dict[str, Path]
) -> tuple[Detections, ClassProbabilities]:
    """Apply the recipe to files in its order; the images come in the order of the first file."""
    members, classifiers = read_all(files, read_predictions), read_all(gates, read_classes)
    check_same_images(members, classifiers)
    check_frame({name: table.boxes for name, table in members.items()}, recipe)
    ids = next(iter(members.values())).ids
    aligned = [
        [table if table.ids == ids else table.select(ids) for table in tables.values()]
        for tables in (members, classifiers)
    ]
    return apply_recipe(recipe, *aligned), ClassProbabilities(ids, image_probabilities(recipe, *aligned))


def sample_ids(sample: str, predicted: Sequence[str]) -> tuple[str, ...] | None:
    """The ids in `sample=`, None without it. Raises BadInput where one of them is not predicted."""
    return read_sample(config.user_path(sample), predicted) if sample else None


def read_groups(settings: schema.Ensemble, member: Path) -> tuple[dict[str, str] | None, dict | None]:
    """Read groups=: {image: person}, and for the JSON the member's images that it lacks. Raises BadInput."""
    if not settings.groups:
        return None, None
    mapping, ids = config.user_path(settings.groups), predicted_ids(member)
    people = read_people(mapping)
    return people, check_people(people, ids, mapping, member.name, settings.allow_unmapped).as_json()


def default_folder(settings: schema.Ensemble, files: list[Path]) -> Path:
    """submissions/ensemble-HASH, a hash of the settings and the files' content: different ones never share a path."""
    tree = config.as_tree(settings) | {"json": False, "out": ""}
    content = [content_sha256(path) for path in files]
    for text in (settings.groups, settings.recipe, settings.sample):
        if text:
            content.append(content_sha256(config.user_path(text)))
    digest = hashlib.sha256(repr((tree, content)).encode()).hexdigest()[:8]
    return config.REPOSITORY / "submissions" / f"ensemble-{digest}"


# ------------------------------------------------------------------ texts


def recipe_comment(fitted: FitResult) -> str:
    return "\n".join(
        [
            f"Nested score {fitted.nested}; on its own images {fitted.fitted_score:.4f} (optimistic).",
            "./run.sh apply recipe=THIS members=[...] classifiers=[...] out=FILE.csv",
        ]
    )


def format_scores(fitted: FitResult) -> str:
    """A table of the scores of the ensemble and its members."""
    width = max([len(name) for name in fitted.members] + [30])
    lines = [f"{'':{width}s}  nested score, 95 % interval   gain in the ensemble"]
    for name, interval in fitted.members.items():
        added = f"   {fitted.gains[name].value:+.4f}" if name in fitted.gains else ""
        lines.append(f"{name:{width}s}  {interval}{added}")
    lines.append(f"{'ensemble':{width}s}  {fitted.nested}")
    lines.append(f"{'fitted score (optimistic)':{width}s}  {fitted.fitted_score:.4f}")
    if fitted.auc:
        lines.append(f"{'whole images, AUC':{width}s}  {fitted.auc}")
    if not fitted.fold_recipes:
        lines.append("no nested score: the images are of a single person")
    for name, values in fitted.unstable.items():
        lines.append(f"unstable: {name} is {', '.join(f'{value:g}' for value in values)} in the outer folds")
    return "\n".join(lines)
