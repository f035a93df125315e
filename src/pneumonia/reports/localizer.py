"""Evaluation of a localizer on its held-out images: the competition's score, FROC, and who and what it finds."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pneumonia.boxes.predictions import concatenate_tables, read_detections
from pneumonia.ensemble.nested import OUTER_FOLDS, cross_fit_member, outer_folds, problem_of
from pneumonia.metrics import froc
from pneumonia.metrics.intervals import Interval, mean_interval
from pneumonia.metrics.iou_map import ThresholdCurve, Truth, image_scores, mean_of_counted, sweep
from pneumonia.metrics.subgroups import subgroups
from pneumonia.reports.evaluated import Evaluated
from pneumonia.reports.localizer_page import as_page, summary
from pneumonia.reports.numbers import json_interval, json_number
from pneumonia.system.errors import bad_input
from pneumonia.system.files import atomic_write, write_json


@dataclass(frozen=True)
class Localized:
    """What the tables say before anything is scored. matches: of all predictions; scores: (images,) of the competition
    with cross-fitted thresholds, NaN where an image does not count; curve: its mean at every threshold; people:
    (images,) numbered from 0; table: a row per image, in the order of `matches.truth`."""

    table: pd.DataFrame
    matches: froc.Matches
    scores: np.ndarray
    curve: ThresholdCurve
    people: np.ndarray


def evaluate(evaluated: Evaluated, draws: int, seed: int) -> dict:
    """Measure, print, and write evaluation.json and evaluation.html into the run's (or experiment's) folder.

    Raises:
        BadInput: its tables contradict each other.
    """
    localized = localize(evaluated, seed)
    result = measure(evaluated, localized, draws, seed)
    print(summary(result))
    write_json(evaluated.folder / "evaluation.json", result)
    with atomic_write(evaluated.folder / "evaluation.html") as file:
        file.write(as_page(evaluated.runs, froc.curve(localized.matches), localized.curve, result))
    print(f"\npage        {evaluated.folder / 'evaluation.html'}")
    return result | {"page": evaluated.folder / "evaluation.html"}


# ------------------------------------------------------------------ measuring


def localize(evaluated: Evaluated, seed: int) -> Localized:
    """Read the runs' predictions, and give each image the threshold that other people's images choose, exactly as the
    main job scores a member alone."""
    files = [run.table("oof", "localizer") for run in evaluated.runs]
    detections, table = concatenate_tables([read_detections(file) for file in files]), evaluated.table
    repeated = table.loc[table["patientId"].duplicated(), "patientId"].tolist()
    if repeated:
        what = f"{len(repeated)} images are held out by several of its runs, the first is {repeated[0]}"
        raise bad_input(evaluated.folder, what, "evaluate runs of one fold table together, or each alone")
    unlike = sorted({*table["patientId"]} ^ {*detections.ids})
    if unlike:
        what = f"{len(unlike)} images are in only one of it and held_out.csv, the first is {unlike[0]}"
        raise bad_input(files[0], what, "train the run again")
    table = table.set_index("patientId").loc[[*detections.ids]].reset_index()
    truth = Truth.from_lists(table["patientId"], [boxes_of(evaluated.folder, *row) for row in read_boxes(table)])
    groups = dict(zip(table["patientId"], table["group"]))
    problem = problem_of({str(files[0]): detections}, {}, truth, groups)
    fold = outer_folds(problem.people, truth.positive, OUTER_FOLDS, seed)
    scores = np.full(len(fold), np.nan)
    if fold.max() > 0:  # one person alone has nobody else to take a threshold from
        scores = image_scores(truth, cross_fit_member(problem, fold, 0, seed))
    return Localized(table, froc.match(truth, detections), scores, sweep(truth, detections), problem.people)


def read_boxes(table: pd.DataFrame):
    """Each image with its boxes as text, empty for none."""
    return zip(table["patientId"], table["boxes"].fillna(""))


def boxes_of(place, image: str, text: str) -> np.ndarray:
    """ "x y width height ..." to (n, 4). Raises BadInput naming the image."""
    try:
        boxes = np.array([float(word) for word in text.split()]).reshape(-1, 4)
    except ValueError:
        boxes = np.full((1, 4), np.nan)
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()):
        fix = "write x y width height of every box, separated by spaces"
        raise bad_input(place, f"held_out.csv: '{text}' of {image} are no boxes", fix)
    return boxes


def measure(evaluated: Evaluated, localized: Localized, draws: int, seed: int) -> dict:
    """Everything as nested plain values, None for what is not measurable; intervals are {value, low, high}, 95 %, by
    bootstrap over people."""
    table, matches, people = localized.table, localized.matches, localized.people
    points = froc.points(matches, people, draws=draws, seed=seed)
    threshold, fitted = localized.curve.best()
    folds = table["fold"].astype(str)
    return {
        **evaluated.described(),
        "boxes": len(matches.truth.boxes),
        "held_out_score": json_interval(mean_interval(localized.scores, people, draws, seed)),
        "tuned_on_itself": {"score": json_number(fitted), "threshold": json_number(threshold)},
        "score_of_folds": {
            fold: json_number(mean_of_counted(localized.scores[(folds == fold).to_numpy()])) for fold in folds.unique()
        },
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
        **by_size_and_person(localized, [point.threshold for point in points], draws, seed),
    }


def by_size_and_person(localized: Localized, thresholds: list[float], draws: int, seed: int) -> dict:
    """Sensitivity of each size of box, and of each group of people with its own false positives per image, at the
    thresholds that have the fixed rates over all images: one threshold for everybody, as in use."""
    matches, table, people = localized.matches, localized.table, localized.people
    hits, false = froc.hits_at(matches, thresholds), froc.false_positives_at(matches, thresholds)
    image, sizes = matches.image_of_lesion, froc.sizes_of(matches.truth.boxes)
    by_size = froc.means_by_label(hits, sizes, people[image], draws, seed)
    groups, seen = [], {}
    for what, value, own in subgroups(table):
        seen.setdefault(what, np.full(len(table), "", dtype=object))[own] = value
        groups.append((what, value, own))
    sensitivity = {
        what: froc.means_by_label(hits, names[image], people[image], draws, seed) for what, names in seen.items()
    }
    false_positives = {what: froc.means_by_label(false, names, people, draws, seed) for what, names in seen.items()}
    none = [Interval(math.nan, math.nan, math.nan)] * len(thresholds)
    return {
        "sizes": [
            {
                "is": size,
                "boxes": int((sizes == size).sum()),
                "sensitivity": [*map(json_interval, by_size.get(size, none))],
            }
            for size in froc.SIZES
        ],
        "subgroups": [
            {
                "of": what,
                "is": value,
                "images": int(own.sum()),
                "people": len(np.unique(people[own])),
                "boxes": int(own[image].sum()),
                "sensitivity": [*map(json_interval, sensitivity[what].get(value, none))],
                "false_positives": [*map(json_interval, false_positives[what][value])],
            }
            for what, value, own in groups
        ],
    }
