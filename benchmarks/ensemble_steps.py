"""Effect of each step of the ensemble: nested scores of recipes without the step, paired with the whole recipe.

    PYTHONPATH=src .venv/bin/python benchmarks/ensemble_steps.py LABELS.csv MAPPING.csv MEMBER.csv ...

Every line is one procedure, fitted and scored by nested cross-validation over people on the same folds, and averaged
over five assignments of people to folds; the interval and the change are of the first.

Measured on the predictions of six real detectors (three Faster R-CNN, three YOLO11s) for 750 images of 323 people, 169
of them positive. Mean over the five assignments; their standard deviation is 0.002 to 0.006, and half the width of an
interval over people 0.06, so that only the two large differences are more than noise:

    the whole procedure                                  0.228
    no search, only calibration and threshold fitted     0.227
    without calibration                                  0.226
    calibration by rank                                  0.213
    non-maximum suppression in place of weighted boxes   0.199
    the mean of a cluster's boxes as its confidence      0.224
    without shrink factors                               0.227
    without second-box threshold and share of the top    0.226
    without the members' agreement as a gate             0.227
"""

import copy
import sys
from pathlib import Path

import numpy as np

from pneumonia.boxes.predictions import read_detections
from pneumonia.data.people import read_people
from pneumonia.ensemble.nested import (
    OUTER_FOLDS,
    apply_cross_fitted,
    cross_fit_member,
    outer_folds,
    problem_of,
    with_members,
)
from pneumonia.ensemble.recipe import Recipe
from pneumonia.ensemble.tune import SPACE, Problem, Search, fit
from pneumonia.metrics.intervals import difference_interval, mean_interval
from pneumonia.metrics.iou_map import image_scores, read_truth

SEEDS = range(5)


def procedures(whole: Recipe):
    """Yield name, starting recipe and parameters to search of each procedure."""

    def without(*names: str):
        return [parameter for parameter in SPACE if parameter.name not in names]

    def changed(**values) -> Recipe:
        recipe = copy.deepcopy(whole)
        for name, value in values.items():
            group, _, last = name.rpartition("__")
            setattr(getattr(recipe, group) if group else recipe, last, value)
        return recipe

    shrink = ("shrink_width", "shrink_height")
    yield "the whole procedure", whole, SPACE
    yield "no search: the starting recipe, threshold and calibration fitted", whole, []
    yield "without calibration", changed(calibration="none"), SPACE
    yield "calibration by rank", changed(calibration="rank"), SPACE
    yield "fused by non-maximum suppression", changed(fusion__method="nms"), SPACE
    yield "cluster confidence: mean of the boxes (wbf's own)", changed(fusion__confidence="mean"), SPACE
    yield "without shrink factors", whole, without(*shrink)
    yield "without second-box threshold and share of the top", whole, without("second_box_factor", "min_ratio_to_top")
    yield "without the members' agreement as a gate", whole, without("gate.agreement")


def nested_scores(problem: Problem, start: Recipe, parameters, seed: int) -> np.ndarray:
    """(images,) cross-fitted scores."""
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, seed)
    recipes = [
        fit(problem.rows(np.flatnonzero(fold != k)), start, Search(60, seed=seed), parameters)
        for k in range(fold.max() + 1)
    ]
    return image_scores(problem.truth, apply_cross_fitted(problem, fold, recipes))


def best_member_scores(problem: Problem, seed: int) -> np.ndarray:
    """(images,) scores of the member that is best alone, with a cross-fitted threshold."""
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, seed)
    alone = [cross_fit_member(problem, fold, member, seed) for member in range(len(problem.members))]
    return max((image_scores(problem.truth, table) for table in alone), key=np.nanmean)


def main(labels: str, mapping: str, files: list[str]) -> None:
    members = {file: read_detections(file) for file in files}
    problem = problem_of(members, {}, read_truth(labels), read_people(Path(mapping)))
    whole_scores = None
    best = [best_member_scores(problem, seed) for seed in SEEDS]
    for name, start, parameters in procedures(Recipe()):
        scores = [nested_scores(problem, with_members(start, files, []), parameters, seed) for seed in SEEDS]
        if whole_scores is None:
            whole_scores = scores[0]
            for seed, (one, other) in enumerate(zip(best, scores)):
                gain = difference_interval(other, one, problem.people)
                print(
                    f"assignment {seed}: best member alone {np.nanmean(one):.4f}, gain of the whole procedure {gain}",
                    flush=True,
                )
        change = difference_interval(scores[0], whole_scores, problem.people)
        means = [np.nanmean(image_scores_of_seed) for image_scores_of_seed in scores]
        interval = mean_interval(scores[0], problem.people)
        print(f"{name:66s} {np.mean(means):.4f} +- {np.std(means):.4f}   {interval}   change {change}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
