"""The view of a submission by the main job: its held-out images with the ensemble's and every member's boxes."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.config import REPOSITORY
from pneumonia.data.prepared import Prepared, read_prepared
from pneumonia.data.samples import CachedImages, original_sizes
from pneumonia.ensemble.nested import problem_of
from pneumonia.ensemble.recipe import Recipe, apply, read_recipe
from pneumonia.metrics.iou_map import Truth
from pneumonia.reports.numbers import number_text, range_text
from pneumonia.reports.view import View
from pneumonia.runs.run import Run
from pneumonia.runs.tables import held_out_tables, of_type
from pneumonia.system.errors import bad_input
from pneumonia.system.files import read_json


def job_view(
    result: dict,
    data: Prepared,
    localizers: Mapping[str, Detections],
    classifiers: Mapping[str, ClassProbabilities],
    recipe: Recipe,
) -> View:
    """Build the view.

    Args:
        result: the main job's JSON.
        localizers, classifiers: the members' tables of the held-out images.
        recipe: fitted on these images.
    """
    truth = Truth.from_lists(data.study["patientId"], data.study["boxes"])
    problem = problem_of(localizers, classifiers, truth)
    detections = apply(dataclasses.replace(recipe, threshold=0.0), problem.members, problem.classifiers)
    ids = problem.truth.ids
    images = CachedImages(data.cache, ids, data.cache.size)
    interval = range_text(result["held_out_low"], result["held_out_high"])
    return View(
        title=f"Held-out radiographs: {result['dataset']}",
        lead=f"{len(ids)} images, {int(problem.truth.positive.sum())} with a true box; folds "
        f"{', '.join(map(str, result['folds']))}; preset {result['preset']}",
        note="The boxes are by the recipe that was fitted on these images, so the score here is optimistic. By recipes "
        f"fitted on other people it is {number_text(result['held_out_score'])} ({interval}). Not a medical device.",
        truth=problem.truth,
        detections=detections,
        threshold=recipe.threshold,
        table=data.study.set_index("patientId").loc[list(ids)].reset_index(),
        sizes=original_sizes(data.cache, ids),
        picture=images.__getitem__,
        pictures_key=data.images_sha256,
        members=dict(zip(problem.names, problem.members)),
        classifiers={name: table.opacity for name, table in zip(problem.classifier_names, problem.classifiers)},
    )


def read_job_view(folder: Path) -> View:
    """Read the view of submissions/NAME from the tables of its runs.

    Raises:
        BadInput: a run does not exist any more.
        EnvironmentFailure: the image cache or a table of the data has changed.
    """
    result = read_json(folder / "result.json")
    runs = {name: [Run(REPOSITORY / path) for path in paths] for name, paths in result["runs"].items()}
    for run in (run for member_runs in runs.values() for run in member_runs):
        if not run.is_done:
            fix = "make the submission again by the command that made it"
            raise bad_input(folder, f"its run {run.folder} does not exist any more", fix)
    tables = held_out_tables(runs)
    starts = [member_runs[0].start()["prepared"] for member_runs in runs.values()]
    prepared = [read_prepared(start) for start in {start["cache"]: start for start in starts}.values()]
    return job_view(
        result,
        max(prepared, key=lambda data: data.cache.size),
        of_type(tables, Detections),
        of_type(tables, ClassProbabilities),
        read_recipe(folder / "recipe.yaml"),
    )
