"""The main job's report.html while networks are being trained: it is written at the start and after each of them."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.data.prepared import Prepared
from pneumonia.ensemble.nested import OUTER_FOLDS, cross_fit_member, outer_folds, problem_of
from pneumonia.metrics.auc import auc_interval
from pneumonia.metrics.intervals import Interval, mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.reports import figures, page
from pneumonia.reports.job import SCOPE, histories_by_fold, pictures
from pneumonia.reports.numbers import number_text, range_text
from pneumonia.runs.run import Run
from pneumonia.runs.state import FINISHED, GOING, STOPPED, state_of
from pneumonia.runs.tables import Table, tables_of
from pneumonia.system.files import atomic_write

RELOAD_SECONDS = 30


class Score(NamedTuple):
    """metric: AUC or IoU-mAP. boxes: of a localizer, those above thresholds fitted on other people; else None."""

    metric: str
    interval: Interval
    boxes: Detections | None


def write_unfinished_report(path: Path, data: Prepared, runs: Mapping[str, Sequence[Run]], seed: int) -> None:
    """Write the page: state and score of each network, learning curves, radiographs with boxes.

    Args:
        runs: {member: its runs, one per selected fold}; any of them may be finished.
        seed: of the split over people by which thresholds are fitted, and of the bootstrap.
    """
    truth = Truth.from_lists(data.study["patientId"], data.study["boxes"])
    groups = dict(zip(data.study["patientId"], data.study["group"]))
    rows, boxes = [], {}
    for name, run in [(name, run) for name, folds in runs.items() for run in folds]:
        row = [name, run.fold, state_text(run), "", ""]
        if run.is_done:
            score = score_of(held_out_table(run), truth, groups, seed)
            interval = score.interval
            row[3:] = f"{score.metric} {number_text(interval.value)}", range_text(interval.low, interval.high)
            if score.boxes is not None:
                boxes[f"{name}, fold {run.fold}"] = score.boxes
        rows.append(row)
    done = sum(bool(row[-1]) for row in rows)
    sections = [
        page.note(
            f"Unfinished: {done} of {len(rows)} networks are trained. This page is written again after each of them; "
            "the ensemble's scores come last. If the job has stopped, the same command continues it."
        ),
        page.section("Networks", page.table(("member", "fold", "state", "held-out score", "95 % interval"), rows)),
        *curves(runs),
        radiographs(data, truth, boxes),
        page.note(SCOPE),
    ]
    lead = "Each held-out score is of one network alone, on images of people that it was not trained on."
    with atomic_write(path) as file:
        file.write(page.page(f"Pneumonia detection: {data.dataset}", lead, sections, RELOAD_SECONDS))


def state_text(run: Run) -> str:
    state = state_of(run)
    if state.name == FINISHED:
        return f"finished, {run.done()['seconds']:.0f} s"
    return f"{state.name}, epoch {state.epoch} of {state.epochs}" if state.name in (GOING, STOPPED) else state.name


def held_out_table(run: Run) -> Table:
    return tables_of({"": [run]}, "oof")[""][0]


def score_of(table: Table, truth: Truth, groups: Mapping[str, Hashable], seed: int) -> Score:
    if isinstance(table, ClassProbabilities):
        positive = truth.select(table.ids).positive
        return Score("AUC", auc_interval(positive, table.opacity, people_of(table.ids, groups)), None)
    problem = problem_of({"": table}, {}, truth, groups)
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, seed)
    if fold.max() == 0:  # with a single person no threshold can be fitted on others
        return Score("IoU-mAP", mean_interval(np.full(len(fold), np.nan), problem.people), None)
    boxes = cross_fit_member(problem, fold, 0, seed)
    return Score("IoU-mAP", mean_interval(image_scores(problem.truth, boxes), problem.people, seed=seed), boxes)


def curves(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Plot the losses of the networks that have begun, fold by fold."""
    plots = []
    for fold, histories in histories_by_fold(runs).items():
        begun = {name: history for name, history in histories.items() if history}
        if begun:
            plots.append(page.plot(figures.learning_curves(begun), f"learning curves of fold {fold}"))
    return [page.section("Learning curves", *plots)] if plots else []


def radiographs(data: Prepared, truth: Truth, boxes: Mapping[str, Detections]) -> str:
    """Show images with the boxes of the last finished localizer; before there is one, with the true boxes alone."""
    text = '<span class="true">Green</span>: true boxes. '
    if boxes:
        name, detections = list(boxes.items())[-1]
        text += (
            f'<span class="predicted">Orange</span>: held-out boxes of {page.escape(name)}, with their confidence, '
            "above a threshold that is fitted on other people."
        )
    else:
        nothing = [np.empty(0)] * len(truth.ids)
        detections = Detections.from_lists(truth.ids, nothing, nothing)
        text += "No localizer has finished yet."
    return page.section("Radiographs", f"<p>{text}</p>", page.picture_grid(pictures(data, truth, detections)))
