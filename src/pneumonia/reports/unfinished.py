"""The main job's report.html while networks are being trained: it is written at the start and after each of them."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.data.prepared import Prepared
from pneumonia.ensemble.nested import cross_fit_alone, problem_of
from pneumonia.metrics.auc import auc_interval
from pneumonia.metrics.intervals import Interval, mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.reports import figures, page
from pneumonia.reports.job import SCOPE, histories_by_fold, pictures
from pneumonia.reports.numbers import number_text, range_text
from pneumonia.runs.run import Run, with_names
from pneumonia.runs.state import FINISHED, GOING, STOPPED, state_of
from pneumonia.runs.tables import Table, tables_of
from pneumonia.system.files import atomic_write

RELOAD_SECONDS = 30


class Score(NamedTuple):
    """metric: AUC or IoU-mAP. boxes: of a localizer, those above thresholds fitted on other people; else None."""

    metric: str
    interval: Interval
    boxes: Detections | None


class UnfinishedReport:
    """The page of one job. A network's score is computed once, when it has finished.

    Args:
        runs: {member: its runs, one per selected fold and seed}; any of them may be finished.
        seed: of the split over people by which thresholds are fitted, and of the bootstrap.
    """

    def __init__(self, path: Path, data: Prepared, runs: Mapping[str, Sequence[Run]], seed: int):
        self.path, self.data, self.runs, self.seed = path, data, runs, seed
        self.truth = Truth.from_lists(data.study["patientId"], data.study["boxes"])
        self.groups = dict(zip(data.study["patientId"], data.study["group"]))
        self.scores: dict[tuple, Score] = {}  # by name and fold, in the order in which they finished

    def write(self) -> None:
        """Write state and score of each network, learning curves, radiographs with boxes."""
        rows = []
        for name, run in with_names(self.runs):
            key = name, run.fold
            if run.is_done and key not in self.scores:
                self.scores[key] = score_of(held_out_table(run), self.truth, self.groups, self.seed)
            rows.append((*key, state_text(run), *(score_texts(self.scores[key]) if key in self.scores else ("", ""))))
        sections = [
            page.note(
                f"Unfinished: {len(self.scores)} of {len(rows)} networks are trained. This page is written again after "
                "each of them; the ensemble's scores come last. If the job has stopped, the same command continues it."
            ),
            page.section("Networks", page.table(("member", "fold", "state", "held-out score", "95 % interval"), rows)),
            *curves(self.runs),
            radiographs(self.data, self.truth, self.scores),
            page.note(SCOPE),
        ]
        lead = "Each held-out score is of one network alone, on images that it was not trained on."
        with atomic_write(self.path) as file:
            file.write(page.page(f"Pneumonia detection: {self.data.dataset}", lead, sections, RELOAD_SECONDS))


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
    boxes = cross_fit_alone(problem, seed)
    scores = np.full(len(table), np.nan) if boxes is None else image_scores(problem.truth, boxes)
    return Score("IoU-mAP", mean_interval(scores, problem.people, seed=seed), boxes)


def score_texts(score: Score) -> tuple[str, str]:
    interval = score.interval
    return f"{score.metric} {number_text(interval.value)}", range_text(interval.low, interval.high)


def curves(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Plot the losses of the networks that have begun, fold by fold."""
    plots = []
    for fold, histories in histories_by_fold(runs).items():
        begun = {name: history for name, history in histories.items() if history}
        if begun:
            plots.append(page.plot(figures.learning_curves(begun), f"learning curves of fold {fold}"))
    return [page.section("Learning curves", *plots)] if plots else []


def radiographs(data: Prepared, truth: Truth, scores: Mapping[tuple, Score]) -> str:
    """Show images with the boxes of the last finished localizer; before there is one, with the true boxes alone."""
    text = '<span class="true">Green</span>: true boxes. '
    boxes = {key: score.boxes for key, score in scores.items() if score.boxes is not None}
    if boxes:
        (name, fold), detections = list(boxes.items())[-1]
        title = f"{page.escape(name)}, fold {fold}"
        text += (
            f'<span class="predicted">Orange</span>: held-out boxes of {title}, with their confidence, '
            "above a threshold that is fitted on other people."
        )
    else:
        nothing = [np.empty(0)] * len(truth.ids)
        detections = Detections.from_lists(truth.ids, nothing, nothing)
        text += "No localizer has finished yet."
    return page.section("Radiographs", f"<p>{text}</p>", page.picture_grid(pictures(data, truth, detections)))
