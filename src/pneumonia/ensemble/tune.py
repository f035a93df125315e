"""Fit a recipe to predictions of labelled images: calibrations, weights, searched parameters, threshold.

The exact sweep over all thresholds gives the threshold, so the search is over the other parameters only. On few images
the search would fit noise: a penalty pulls every parameter towards its start, and the curve over the threshold is
smoothed, so that a plateau beats a peak.
"""

import copy
import dataclasses
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.ensemble.calibrate import MAX_EXPONENT, fit_boxes, fit_exponent, fit_images
from pneumonia.ensemble.recipe import (
    Member,
    Recipe,
    best_of_image,
    calibrate_members,
    fuse_members,
    gate_probabilities,
    post_process,
    suppress_members,
)
from pneumonia.metrics.intervals import person_draws
from pneumonia.metrics.iou_map import Steps, ThresholdCurve, Truth, box_credits, curve_of, steps_of, sweep
from pneumonia.system.progress import say

# subtracted from the score for one parameter one scale away from its start; divided by sqrt(images / 1000)
PENALTY = 0.01
SMOOTHING = 0.3  # the curve over the threshold is averaged over this share of the positive images, counted in boxes
THRESHOLD_DRAWS = 50
ABOVE_ALL = 1.000001  # a threshold that no confidence reaches, in the six decimals of a submission


@dataclass(frozen=True)
class Parameter:
    """A number that the search changes, from low to high. scale: the unit of its penalty (see PENALTY)."""

    name: str
    low: float
    high: float
    scale: float

    @property
    def key(self) -> str:
        """The name that Optuna has for it."""
        return str(DRAW_ORDER.index(self.name))

    def get(self, recipe: Recipe) -> float:
        return getattr(*self.attribute(recipe))

    def set(self, recipe: Recipe, value: float) -> None:
        setattr(*self.attribute(recipe), float(value))

    def attribute(self, recipe: Recipe) -> tuple[object, str]:
        """The object that has the value, and the attribute's name."""
        group, _, name = self.name.rpartition(".")
        return (getattr(recipe, group) if group else recipe), name


SPACE = (
    Parameter("fusion.iou", 0.25, 0.65, 0.1),
    Parameter("gate.exponent", 0.0, MAX_EXPONENT, 0.5),
    Parameter("gate.cutoff", 0.0, 0.5, 0.1),
    Parameter("gate.not_normal", 0.0, 0.5, 0.2),
    Parameter("gate.agreement", 0.0, 2.0, 0.5),
    Parameter("shrink_width", 0.75, 1.1, 0.1),
    Parameter("shrink_height", 0.75, 1.1, 0.1),
    Parameter("min_ratio_to_top", 0.0, 0.7, 0.2),
    Parameter("second_box_factor", 0.5, 2.0, 0.25),
)
# Optuna draws in the alphabetical order of its parameters: numbers as names keep the draws the same when a setting is
# renamed
DRAW_ORDER = ("fusion.iou", "gate.agreement", "gate.cutoff", "gate.exponent", "gate.not_normal",
         "second_box_factor", "min_ratio_to_top", "shrink_height", "shrink_width")  # fmt: skip
ONLY_WITH_CLASSIFIERS = ("gate.exponent", "gate.cutoff", "gate.not_normal")
ONLY_WITH_MEMBERS = ("fusion.iou", "gate.agreement")
REFITTED = ("shrink_width", "shrink_height")  # what `refit` searches


@dataclass
class Problem:
    """Predictions with their true boxes; all tables have the same images in the same order.

    people: (images,) number of each image's person. names, classifier_names: of the tables. is_suppressed: the members'
    duplicate boxes are already removed.
    """

    members: list[Detections]
    classifiers: list[ClassProbabilities]
    truth: Truth
    people: np.ndarray
    names: Sequence[str] = ()
    classifier_names: Sequence[str] = ()
    is_suppressed: bool = False

    def rows(self, positions: np.ndarray) -> "Problem":
        """The images at these positions."""
        return dataclasses.replace(
            self,
            members=[table.rows(positions) for table in self.members],
            classifiers=[table.rows(positions) for table in self.classifiers],
            truth=self.truth.rows(positions),
            people=np.unique(self.people[positions], return_inverse=True)[1],
        )

    def select_members(self, positions: Sequence[int]) -> "Problem":
        """The members at these positions, with all classifiers."""
        members, names = ([values[position] for position in positions] for values in (self.members, self.names))
        return dataclasses.replace(self, members=members, names=names)


@dataclass(frozen=True)
class Search:
    """Settings of one search.

    seconds: time limit, 0 for none. title: of the progress bar and of the printed line, if any.
    """

    trials: int = 150
    seconds: float = 0.0
    seed: int = 0
    title: str = ""

    def split_time(self, searches: int) -> "Search":
        """This search with the time limit of one of several searches."""
        return dataclasses.replace(self, seconds=self.seconds / searches)

    def with_subtitle(self, images: str) -> "Search":
        """This search with the images that it is on in its title."""
        return dataclasses.replace(self, title=f"{self.title}, {images}")


def fit(
    problem: Problem, start: Recipe, search: Search, parameters: Sequence[Parameter] = SPACE, penalty: float = PENALTY
) -> Recipe:
    """Fit a recipe to all images of the problem: calibrations, weights, searched parameters, threshold.

    Args:
        start: where the search starts and where the penalty pulls it. Its members and classifiers give the names.
            Equal weights are replaced by weights from the members' own scores, a gate's exponent of 1 by a fitted one.
        parameters: that the search may change.
    """
    recipe = fit_calibrations(problem, start)
    tables = calibrate_members(recipe, suppressed_tables(recipe, problem))
    parameters = [parameter for parameter in parameters if applies(parameter, problem)]
    if parameters and search.trials > 1 and problem.truth.positive.any():
        recipe = search_parameters(problem, tables, recipe, parameters, search, penalty)
    steps = steps_of(problem.truth, post_process(recipe, fuse_members(recipe, tables), problem.classifiers))
    recipe.threshold = stable_threshold(steps, problem.people, search.seed)
    return recipe


def refit(problem: Problem, recipe: Recipe, search: Search) -> Recipe:
    """Fit shrink factors and threshold, which the test distribution changes, to these images; the rest is unchanged."""
    tables = calibrate_members(recipe, suppressed_tables(recipe, problem))
    parameters = [parameter for parameter in SPACE if parameter.name in REFITTED]
    # a smaller penalty: these two parameters are known to change
    recipe = search_parameters(problem, tables, recipe, parameters, search, PENALTY / 4)
    return fit_threshold(problem, recipe, search.seed)


def fit_threshold(problem: Problem, recipe: Recipe, seed: int) -> Recipe:
    """Return the recipe with its threshold fitted to these images."""
    recipe = copy.deepcopy(recipe)
    tables = calibrate_members(recipe, suppressed_tables(recipe, problem))
    steps = steps_of(problem.truth, post_process(recipe, fuse_members(recipe, tables), problem.classifiers))
    recipe.threshold = stable_threshold(steps, problem.people, seed)
    return recipe


def suppressed_tables(recipe: Recipe, problem: Problem) -> list[Detections]:
    return problem.members if problem.is_suppressed else suppress_members(recipe, problem.members)


def fit_calibrations(problem: Problem, start: Recipe) -> Recipe:
    """Return `start` with calibrations, weights and the gate's exponent fitted to the problem."""
    recipe = copy.deepcopy(start)
    tables = suppressed_tables(recipe, problem)
    kind, positive = recipe.calibration, problem.truth.positive
    recipe.members = [
        Member(
            member.name,
            member.weight,
            fit_boxes(kind, table, problem.truth),
            fit_images(kind, best_of_image(table), positive),
        )
        for member, table in zip(recipe.members, tables)
    ]
    recipe.classifiers = [
        Member(member.name, member.weight, fit_images(kind, table.opacity, positive))
        for member, table in zip(recipe.classifiers, problem.classifiers)
    ]
    if len({member.weight for member in recipe.members}) == 1:
        scores = np.array([np.nan_to_num(sweep(problem.truth, table).best()[1]) for table in tables])
        if scores.max() > 0:
            for member, score in zip(recipe.members, scores):
                member.weight = round(float(score / scores.max()), 4)
    if recipe.classifiers and recipe.gate.exponent == 1:
        boxes = fuse_members(recipe, calibrate_members(recipe, tables))
        box_probability = gate_probabilities(recipe, problem.classifiers)[boxes.image_of_box]
        exponent = fit_exponent(boxes.scores, box_probability, box_credits(problem.truth, boxes))
        recipe.gate.exponent = round(exponent, 4)
    return recipe


def applies(parameter: Parameter, problem: Problem) -> bool:
    """Whether the parameter has an effect: some need classifiers, or several members."""
    if parameter.name in ONLY_WITH_CLASSIFIERS and not problem.classifiers:
        return False
    if parameter.name == "gate.not_normal" and all(table.not_normal is None for table in problem.classifiers):
        return False
    return len(problem.members) > 1 or parameter.name not in ONLY_WITH_MEMBERS


def search_parameters(
    problem: Problem,
    tables: Sequence[Detections],
    start: Recipe,
    parameters: Sequence[Parameter],
    search: Search,
    penalty: float,
) -> Recipe:
    """Search the parameters with Optuna's TPE, starting at `start`. tables: the calibrated members."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `multivariate`
        sampler = optuna.samplers.TPESampler(
            seed=search.seed, multivariate=True, n_startup_trials=min(20, search.trials // 3)
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({p.key: float(np.clip(p.get(start), p.low, p.high)) for p in parameters})
    strength = penalty / np.sqrt(max(len(problem.truth), 50) / 1000)
    last: dict[tuple, Detections] = {}  # fused boxes, reused while only later steps change

    def objective(trial) -> float:
        recipe = copy.deepcopy(start)
        distance = 0.0
        for parameter in parameters:
            value = trial.suggest_float(parameter.key, parameter.low, parameter.high)
            distance += ((value - parameter.get(start)) / parameter.scale) ** 2
            parameter.set(recipe, value)
        key = (recipe.fusion.iou, recipe.gate.agreement)
        if key not in last:
            last.clear()
            last[key] = fuse_members(recipe, tables)
        steps = steps_of(problem.truth, post_process(recipe, last[key], problem.classifiers))
        return float(np.nan_to_num(best_smoothed_score(steps))) - strength * distance

    run_trials(study, objective, search)
    best = copy.deepcopy(start)
    for parameter in parameters:
        parameter.set(best, round(study.best_params[parameter.key], 4))
    return best


def run_trials(study, objective: Callable, search: Search) -> None:
    """Run the trials, with a progress bar that shows the best score so far."""
    started = time.monotonic()
    visible = sys.stderr.isatty()
    with tqdm(total=search.trials, desc=search.title, unit="trial", leave=False, disable=not visible) as bar:

        def show_best(study, trial) -> None:
            bar.update()
            bar.set_postfix_str(f"best {study.best_value:.4f}", refresh=False)

        study.optimize(objective, search.trials, timeout=search.seconds or None, callbacks=[show_best])
    if search.title:
        seconds = time.monotonic() - started
        say(f"{search.title}: best {study.best_value:.4f} after {len(study.trials)} trials, {seconds:.0f} s")


def best_smoothed_score(steps: Steps) -> float:
    """Return the highest score of the smoothed curve; NaN if no image counts."""
    curve = curve_of(steps)
    return float(np.nanmax(smooth(curve, steps))) if not np.isnan(curve.scores).all() else float("nan")


def smooth(curve: ThresholdCurve, steps: Steps) -> np.ndarray:
    """Average each score over the neighbouring thresholds, a fixed number of boxes wide; (k,).

    A threshold that many boxes share counts once for each of them, so that rounded confidences do not widen the window.
    """
    half = max(1, int(SMOOTHING * steps.positive.sum() / 2))
    is_last = np.ones(len(steps.confidence), dtype=bool)  # of the boxes that share a threshold
    is_last[:-1] = steps.confidence[1:] != steps.confidence[:-1]
    boxes = np.diff(np.flatnonzero(is_last), prepend=-1)
    boxes = np.concatenate([[1], boxes])  # the first threshold, above every confidence, counts once
    total = np.concatenate([[0.0], np.cumsum(np.repeat(np.nan_to_num(curve.scores), boxes))])
    middle = np.cumsum(boxes) - boxes + (boxes - 1) // 2
    low = np.maximum(middle - half, 0)
    high = np.minimum(middle + half + 1, len(total) - 1)
    return (total[high] - total[low]) / (high - low)


def stable_threshold(steps: Steps, people: np.ndarray, seed: int) -> float:
    """Return the median, over bootstrap draws of people, of the threshold with the highest score.

    It depends less on chance than a single peak. If no box ever raises the score: above every confidence of the
    submission, which are at most 1.
    """
    curve = curve_of(steps)
    peak, best = curve.best()
    # no draw's peak is far below the peak of all images: lower boxes, nearly all of a large ensemble's, are skipped
    boxes = 3 * int((steps.confidence >= peak).sum()) + 1000
    top = slice(boxes)
    top_steps = Steps(steps.confidence[top], steps.gain[top], steps.counted[top], steps.image[top], steps.positive)
    peaks = []
    for weights in person_draws(int(people.max()) + 1, THRESHOLD_DRAWS, seed) if len(people) else ():
        for weight in weights:
            draw = curve_of(top_steps, weight[people])
            if not np.isnan(draw.scores).all() and np.nanmax(draw.scores) > 0:
                peaks.append(draw.best()[0])
    if not peaks and not best > 0:
        return ABOVE_ALL
    return round(float(np.median(peaks)) if peaks else peak, 6)
