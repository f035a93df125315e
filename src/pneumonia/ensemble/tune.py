"""Fitting a recipe to predictions whose truth is known: calibrations, weights, the search, the threshold.

The final threshold comes from the exact sweep, so that the search is over the other parameters only. On few images the
search would fit noise: every parameter is drawn towards where it started, and the curve over the threshold is smoothed,
so that a plateau beats a peak.
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
from pneumonia.ensemble.calibrate import STEEPEST, fit_boxes, fit_exponent, fit_images
from pneumonia.ensemble.recipe import Member, Recipe, calibrated, finished, fused, probabilities, suppressed
from pneumonia.metrics.intervals import person_draws
from pneumonia.metrics.iou_map import Steps, ThresholdCurve, Truth, box_credits, curve_of, steps_of, sweep
from pneumonia.system.progress import say

PENALTY = 0.01  # of the score, for one parameter one scale away from its start; divided by the root of images / 1000
SMOOTHING = 0.3  # the curve over the threshold is averaged over this share of the positive images, counted in boxes
THRESHOLD_DRAWS = 50


@dataclass(frozen=True)
class Parameter:
    """A number that the search moves. scale: a step that has to be worth it (see PENALTY)."""

    name: str
    low: float
    high: float
    scale: float

    @property
    def key(self) -> str:
        """Its name in Optuna."""
        return str(DRAW_ORDER.index(self.name))

    def get(self, recipe: Recipe) -> float:
        return getattr(*self.place(recipe))

    def set(self, recipe: Recipe, value: float) -> None:
        setattr(*self.place(recipe), float(value))

    def place(self, recipe: Recipe) -> tuple[object, str]:
        group, _, name = self.name.rpartition(".")
        return (getattr(recipe, group) if group else recipe), name


SPACE = (
    Parameter("fusion.iou", 0.25, 0.65, 0.1),
    Parameter("gate.exponent", 0.0, STEEPEST, 0.5),
    Parameter("gate.cutoff", 0.0, 0.5, 0.1),
    Parameter("gate.not_normal", 0.0, 0.5, 0.2),
    Parameter("gate.agreement", 0.0, 2.0, 0.5),
    Parameter("shrink_width", 0.75, 1.1, 0.1),
    Parameter("shrink_height", 0.75, 1.1, 0.1),
    Parameter("min_ratio_to_top", 0.0, 0.7, 0.2),
    Parameter("second_box_factor", 0.5, 2.0, 0.25),
)
# Optuna draws in the alphabetical order of its parameters: numbers for names keep a search's draws the same, bit for
# bit, whatever a setting is called
DRAW_ORDER = ("fusion.iou", "gate.agreement", "gate.cutoff", "gate.exponent", "gate.not_normal",
         "second_box_factor", "min_ratio_to_top", "shrink_height", "shrink_width")  # fmt: skip
ONLY_WITH_CLASSIFIERS = ("gate.exponent", "gate.cutoff", "gate.not_normal")
ONLY_WITH_MEMBERS = ("fusion.iou", "gate.agreement")
OF_THE_TEST = ("shrink_width", "shrink_height")  # what tune_on= refits, with the threshold


@dataclass
class Problem:
    """Predictions with their truth; all tables cover the same images in the same order.

    people: (images,) number of each image's person. names, classifier_names: of the tables. clean: the members'
    duplicates are already gone.
    """

    members: list[Detections]
    classifiers: list[ClassProbabilities]
    truth: Truth
    people: np.ndarray
    names: Sequence[str] = ()
    classifier_names: Sequence[str] = ()
    clean: bool = False

    def rows(self, positions: np.ndarray) -> "Problem":
        return dataclasses.replace(
            self,
            members=[table.rows(positions) for table in self.members],
            classifiers=[table.rows(positions) for table in self.classifiers],
            truth=self.truth.rows(positions),
            people=np.unique(self.people[positions], return_inverse=True)[1],
        )

    def of_members(self, kept: Sequence[int]) -> "Problem":
        return dataclasses.replace(
            self, members=[self.members[place] for place in kept], names=[self.names[place] for place in kept]
        )


@dataclass(frozen=True)
class Search:
    """trials of one search; seconds that it may take, 0 for no limit; title of its bar and of its line, if any."""

    trials: int = 150
    seconds: float = 0.0
    seed: int = 0
    title: str = ""

    def shared(self, searches: int) -> "Search":
        """The same time for several searches together."""
        return dataclasses.replace(self, seconds=self.seconds / searches)

    def on(self, images: str) -> "Search":
        """The same search, titled by the images that it is on."""
        return dataclasses.replace(self, title=f"{self.title}, {images}")


def fit(
    problem: Problem, start: Recipe, search: Search, parameters: Sequence[Parameter] = SPACE, penalty: float = PENALTY
) -> Recipe:
    """A recipe fitted to all images of the problem: calibrations, weights, search, threshold.

    Args:
        start: where the search begins and what it is drawn to. Its members and classifiers give the names; weights are
            kept where they are not all equal, else taken from the members' own scores; the gate's exponent is kept
            where it is not 1, else fitted.
        parameters: what the search may move.
    """
    recipe = prepared(problem, start)
    tables = calibrated(recipe, without_duplicates(recipe, problem))
    chosen = [each for each in parameters if applies(each, problem)]
    if chosen and search.trials > 1 and problem.truth.positive.any():
        recipe = searched(problem, tables, recipe, chosen, search, penalty)
    steps = steps_of(problem.truth, finished(recipe, fused(recipe, tables), problem.classifiers))
    recipe.threshold = stable_threshold(steps, problem.people, search.seed)
    return recipe


def refit(problem: Problem, recipe: Recipe, search: Search) -> Recipe:
    """The same recipe, with what the test distribution changes fitted to these images: shrink factors, threshold."""
    tables = calibrated(recipe, without_duplicates(recipe, problem))
    parameters = [each for each in SPACE if each.name in OF_THE_TEST]
    recipe = searched(problem, tables, recipe, parameters, search, PENALTY / 4)  # two parameters, known to move
    return with_threshold(problem, recipe, search.seed)


def with_threshold(problem: Problem, recipe: Recipe, seed: int) -> Recipe:
    """The same recipe with its threshold fitted to these images."""
    recipe = copy.deepcopy(recipe)
    tables = calibrated(recipe, without_duplicates(recipe, problem))
    steps = steps_of(problem.truth, finished(recipe, fused(recipe, tables), problem.classifiers))
    recipe.threshold = stable_threshold(steps, problem.people, seed)
    return recipe


def without_duplicates(recipe: Recipe, problem: Problem) -> list[Detections]:
    return problem.members if problem.clean else suppressed(recipe, problem.members)


def prepared(problem: Problem, start: Recipe) -> Recipe:
    """`start` with calibrations, weights and the gate's exponent fitted to the problem."""
    recipe = copy.deepcopy(start)
    tables = without_duplicates(recipe, problem)
    kind = recipe.calibration
    recipe.members = [
        Member(part.name, part.weight, fit_boxes(kind, table, problem.truth))
        for part, table in zip(recipe.members, tables)
    ]
    positive = problem.truth.positive
    recipe.classifiers = [
        Member(part.name, part.weight, fit_images(kind, table.opacity, positive))
        for part, table in zip(recipe.classifiers, problem.classifiers)
    ]
    if len({part.weight for part in recipe.members}) == 1:
        own = np.array([np.nan_to_num(sweep(problem.truth, table).best()[1]) for table in tables])
        if own.max() > 0:
            for part, score in zip(recipe.members, own):
                part.weight = round(float(score / own.max()), 4)
    if recipe.classifiers and recipe.gate.exponent == 1:
        found = fused(recipe, calibrated(recipe, tables))
        of_box = probabilities(recipe, problem.classifiers)[found.image_of_box]
        recipe.gate.exponent = round(fit_exponent(found.scores, of_box, box_credits(problem.truth, found)), 4)
    return recipe


def applies(parameter: Parameter, problem: Problem) -> bool:
    if parameter.name in ONLY_WITH_CLASSIFIERS and not problem.classifiers:
        return False
    if parameter.name == "gate.not_normal" and all(table.not_normal is None for table in problem.classifiers):
        return False
    return len(problem.members) > 1 or parameter.name not in ONLY_WITH_MEMBERS


def searched(
    problem: Problem,
    tables: Sequence[Detections],
    start: Recipe,
    parameters: Sequence[Parameter],
    search: Search,
    penalty: float,
) -> Recipe:
    """Optuna's TPE over the parameters, beginning at `start`; tables: the members, calibrated."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `multivariate`
        sampler = optuna.samplers.TPESampler(
            seed=search.seed, multivariate=True, n_startup_trials=min(20, search.trials // 3)
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({each.key: float(np.clip(each.get(start), each.low, each.high)) for each in parameters})
    strength = penalty / np.sqrt(max(len(problem.truth), 50) / 1000)
    last: dict[tuple, Detections] = {}

    def objective(trial) -> float:
        recipe = copy.deepcopy(start)
        distance = 0.0
        for each in parameters:
            value = trial.suggest_float(each.key, each.low, each.high)
            distance += ((value - each.get(start)) / each.scale) ** 2
            each.set(recipe, value)
        key = (recipe.fusion.iou, recipe.gate.agreement)
        if key not in last:
            last.clear()
            last[key] = fused(recipe, tables)
        steps = steps_of(problem.truth, finished(recipe, last[key], problem.classifiers))
        return float(np.nan_to_num(smoothed_best(steps))) - strength * distance

    run_trials(study, objective, search)
    best = copy.deepcopy(start)
    for each in parameters:
        each.set(best, round(study.best_params[each.key], 4))
    return best


def run_trials(study, objective: Callable, search: Search) -> None:
    """The trials, with a bar that shows the best so far."""
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


def smoothed_best(steps: Steps) -> float:
    """The best of the curve averaged over neighbouring thresholds; boxes, not confidences, measure the distance."""
    curve = curve_of(steps)
    return float(np.nanmax(smoothed(curve, steps))) if not np.isnan(curve.scores).all() else float("nan")


def smoothed(curve: ThresholdCurve, steps: Steps) -> np.ndarray:
    half = max(1, int(SMOOTHING * steps.positive.sum() / 2))
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(curve.scores))])
    low = np.maximum(np.arange(len(curve.scores)) - half, 0)
    high = np.minimum(np.arange(len(curve.scores)) + half + 1, len(curve.scores))
    return (total[high] - total[low]) / (high - low)


def stable_threshold(steps: Steps, people: np.ndarray, seed: int) -> float:
    """The median, over bootstrap draws of people, of the threshold at the peak: less of a lottery than one peak.

    Where no box ever helps: above every confidence, as far as a submission can say it.
    """
    curve = curve_of(steps)
    peak = curve.best()[0]
    # no draw's peak lies far below the whole's: the faint boxes, nearly all of a large ensemble's, are not looked at
    boxes = 3 * int((steps.confidence >= peak).sum()) + 1000
    part = slice(boxes)
    near = Steps(steps.confidence[part], steps.gain[part], steps.counted[part], steps.image[part], steps.positive)
    peaks = []
    for weights in person_draws(int(people.max()) + 1, THRESHOLD_DRAWS, seed) if len(people) else ():
        for weight in weights:
            drawn = curve_of(near, weight[people])
            if not np.isnan(drawn.scores).all() and np.nanmax(drawn.scores) > 0:
                peaks.append(drawn.best()[0])
    return round(float(np.median(peaks)) if peaks else min(peak, 1.0), 6)
