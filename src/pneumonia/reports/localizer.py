"""Evaluate a localizer on its held-out images: the competition's score, FROC, sensitivity by box size and by group."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia.boxes.predictions import Detections, concatenate_tables, read_detections
from pneumonia.ensemble.nested import cross_fit_alone, problem_of
from pneumonia.metrics import froc
from pneumonia.metrics.coco_ap import coco_scores
from pneumonia.metrics.intervals import Interval, mean_interval
from pneumonia.metrics.iou_map import ThresholdCurve, Truth, image_scores, mean_of_counted, sweep
from pneumonia.metrics.subgroups import subgroups
from pneumonia.reports.held_out import Evaluation, HeldOut
from pneumonia.reports.localizer_page import build_page, summary
from pneumonia.reports.numbers import json_interval, json_number
from pneumonia.system.errors import bad_input


@dataclass(frozen=True)
class LocalizerScores:
    """A localizer's predictions, matched and scored.

    table: a row per image, in the order of `matches.truth`. detections: all predicted boxes. matches: of them. scores:
    (images,) the competition's, with cross-fitted thresholds, NaN where an image does not count. curve: mean score at
    all thresholds. people: (images,) person of each image, numbered from 0.
    """

    table: pd.DataFrame
    detections: Detections
    matches: froc.Matches
    scores: np.ndarray
    curve: ThresholdCurve
    people: np.ndarray


def evaluate(held_out: HeldOut, draws: int, seed: int) -> Evaluation:
    """Measure everything about a localizer on its held-out images.

    Raises:
        BadInput: the runs' tables contradict each other.
    """
    localizer = score_localizer(held_out, seed)
    result = measure(held_out, localizer, draws, seed)
    page = build_page(held_out.runs, froc.curve(localizer.matches), localizer.curve, result)
    return Evaluation(result, summary(result), page)


# ------------------------------------------------------------------ measuring


def score_localizer(held_out: HeldOut, seed: int) -> LocalizerScores:
    """Read the runs' predictions and score each image at a threshold fitted on other people, as in the main job.

    Raises:
        BadInput: the runs' tables contradict each other.
    """
    files = [run.table("oof", "localizer") for run in held_out.runs]
    detections, table = concatenate_tables([read_detections(file) for file in files]), held_out.table
    repeated = table.loc[table["patientId"].duplicated(), "patientId"].tolist()
    if repeated:
        what = f"{len(repeated)} images are held out by several runs, the first is {repeated[0]}"
        raise bad_input(held_out.folder, what, "evaluate runs of one fold table together, or each alone")
    unmatched = sorted({*table["patientId"]} ^ {*detections.ids})
    if unmatched:
        what = f"{len(unmatched)} images are not both here and in held_out.csv, the first is {unmatched[0]}"
        raise bad_input(files[0], what, "train the run again")
    table = table.set_index("patientId").loc[[*detections.ids]].reset_index()
    boxes = [
        parse_boxes(held_out.folder, image, text) for image, text in zip(table["patientId"], table["boxes"].fillna(""))
    ]
    truth = Truth.from_lists(table["patientId"], boxes)
    groups = dict(zip(table["patientId"], table["group"]))
    problem = problem_of({str(files[0]): detections}, {}, truth, groups)
    cross_fitted = cross_fit_alone(problem, seed)
    scores = np.full(len(table), np.nan) if cross_fitted is None else image_scores(truth, cross_fitted)
    matches, curve = froc.match(truth, detections), sweep(truth, detections)
    return LocalizerScores(table, detections, matches, scores, curve, problem.people)


def parse_boxes(folder: Path, image: str, text: str) -> np.ndarray:
    """Parse "x y width height ..." to (n, 4). Raises BadInput that names the image."""
    try:
        boxes = np.array([float(word) for word in text.split()]).reshape(-1, 4)
    except ValueError:
        boxes = np.full((1, 4), np.nan)
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()):
        fix = "write x y width height of every box, separated by spaces"
        raise bad_input(folder, f"held_out.csv: '{text}' of {image} is not a list of boxes", fix)
    return boxes


def measure(held_out: HeldOut, localizer: LocalizerScores, draws: int, seed: int) -> dict:
    """Return all measures as JSON values, None if not measurable; intervals are {value, low, high}, 95 %, by bootstrap
    over people."""
    table, matches, people = localizer.table, localizer.matches, localizer.people
    points = froc.points(matches, people, draws=draws, seed=seed)
    threshold, fitted = localizer.curve.best()
    folds = table["fold"].astype(str)
    return {
        **held_out.as_json(),
        "boxes": len(matches.truth.boxes),
        "held_out_score": json_interval(mean_interval(localizer.scores, people, draws, seed)),
        "tuned_on_itself": {"score": json_number(fitted), "threshold": json_number(threshold)},
        "score_of_folds": {
            fold: json_number(mean_of_counted(localizer.scores[(folds == fold).to_numpy()])) for fold in folds.unique()
        },
        "coco": coco_scores(matches.truth, localizer.detections),
        "froc": [
            {
                "rate": point.rate,
                "threshold": json_number(point.threshold),
                "false_positives": point.false_positives,
                "sensitivity": json_interval(point.sensitivity),
            }
            for point in points
        ],
        "mean_sensitivity": json_number(float(np.mean([point.sensitivity.value for point in points]))),
        **by_size_and_person(localizer, [point.threshold for point in points], draws, seed),
    }


def by_size_and_person(localizer: LocalizerScores, thresholds: list[float], draws: int, seed: int) -> dict:
    """Return the sensitivity by box size, and sensitivity and false positives per image by group of people.

    The thresholds are those at which all images together have the fixed rates: one for all groups, as in practice.
    """
    matches, table, people = localizer.matches, localizer.table, localizer.people
    hits, false_boxes = froc.hits_at(matches, thresholds), froc.false_positives_at(matches, thresholds)
    image, sizes = matches.image_of_lesion, froc.sizes_of(matches.truth.boxes)
    by_size = froc.means_by_label(hits, sizes, people[image], draws, seed)
    groups, values = [*subgroups(table)], {}
    for column, value, rows in groups:
        values.setdefault(column, np.full(len(table), "", dtype=object))[rows] = value
    sensitivity = {
        column: froc.means_by_label(hits, names[image], people[image], draws, seed) for column, names in values.items()
    }
    false_positives = {
        column: froc.means_by_label(false_boxes, names, people, draws, seed) for column, names in values.items()
    }
    no_boxes = [Interval(math.nan, math.nan, math.nan)] * len(thresholds)
    return {
        "sizes": [
            {
                "is": size,
                "boxes": int((sizes == size).sum()),
                "sensitivity": [*map(json_interval, by_size.get(size, no_boxes))],
            }
            for size in froc.SIZES
        ],
        "subgroups": [
            {
                "of": column,
                "is": value,
                "images": int(rows.sum()),
                "people": len(np.unique(people[rows])),
                "boxes": int(rows[image].sum()),
                "sensitivity": [*map(json_interval, sensitivity[column].get(value, no_boxes))],
                "false_positives": [*map(json_interval, false_positives[column][value])],
            }
            for column, value, rows in groups
        ],
    }
