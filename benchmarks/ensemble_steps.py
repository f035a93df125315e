"""What each step of the ensemble adds: nested scores of recipes without it, paired with the whole recipe.

    python benchmarks/ensemble_steps.py LABELS.csv MAPPING.csv MEMBER.csv ...

Every line is one procedure, fitted and scored by nested cross-validation over people on the same folds, and averaged
over five ways of making the folds; the interval and the change are of the first.

MEASURED
"""

import copy
import sys

import numpy as np

from pneumonia.ensemble.nested import OUTER_FOLDS, cross_fitted, outer_folds, problem_of, with_members
from pneumonia.ensemble.recipe import Fusion, Recipe
from pneumonia.ensemble.tune import SPACE, Budget, Problem, fit
from pneumonia.metrics.intervals import difference_interval, mean_interval
from pneumonia.metrics.iou_map import image_scores, read_truth
from pneumonia.metrics.people import read_groups
from pneumonia.predictions import read_detections

SEEDS = range(5)


def procedures(whole: Recipe, best: int):
    """Name, starting recipe, parameters that are searched, members that take part (None: all)."""
    space = {each.name: each for each in SPACE}

    def without(*names: str):
        return [each for name, each in space.items() if name not in names]

    def changed(**values) -> Recipe:
        recipe = copy.deepcopy(whole)
        for name, value in values.items():
            group, _, last = name.rpartition("__")
            setattr(getattr(recipe, group) if group else recipe, last, value)
        return recipe

    shrink = ("shrink_width", "shrink_height")
    yield "the whole procedure", whole, SPACE, None
    yield "no search: the starting recipe, threshold and calibration fitted", whole, [], None
    yield "without calibration", changed(calibration="none"), SPACE, None
    yield "calibration by rank", changed(calibration="rank"), SPACE, None
    yield "fused by non-maximum suppression", changed(fusion__method="nms"), SPACE, None
    yield "cluster confidence: mean of the boxes (wbf's own)", changed(fusion__confidence="mean"), SPACE, None
    yield "without shrink factors", whole, without(*shrink), None
    yield "without second-box threshold and share of the top", whole, without("second", "share_of_top"), None
    yield "without the members' agreement as a gate", whole, without("gate.agreement"), None
    yield "the best member alone, by the same procedure", changed(fusion=Fusion(confidence="max")), SPACE, [best]


def nested_scores(problem: Problem, start: Recipe, parameters, seed: int) -> np.ndarray:
    """(images,) cross-fitted scores."""
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, seed)
    recipes = [
        fit(problem.rows(np.flatnonzero(fold != k)), start, Budget(60), seed, parameters=parameters)
        for k in range(fold.max() + 1)
    ]
    return image_scores(problem.truth, cross_fitted(problem, fold, recipes))


def main(labels: str, mapping: str, files: list[str]) -> None:
    members = {file: read_detections(file) for file in files}
    problem = problem_of(members, {}, read_truth(labels), read_groups(mapping))
    own = [np.nan_to_num(image_scores(problem.truth, table, 0.5)).mean() for table in problem.members]
    whole_scores = None
    for name, start, parameters, kept in procedures(Recipe(), int(np.argmax(own))):
        part = problem if kept is None else problem.of_members(kept)
        start = with_members(start, [files[place] for place in kept or range(len(files))], [])
        scores = [nested_scores(part, start, parameters, seed) for seed in SEEDS]
        whole_scores = scores[0] if whole_scores is None else whole_scores
        change = difference_interval(scores[0], whole_scores, problem.people)
        means = [np.nanmean(each) for each in scores]
        interval = mean_interval(scores[0], problem.people)
        print(f"{name:66s} {np.mean(means):.4f} +- {np.std(means):.4f}   {interval}   change {change}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
