"""Nested cross-validation of an ensemble: each outer fold, split by person, is scored by a recipe fitted on the others.

The fitted score, of the recipe on the images that it was fitted to, is reported too: it is optimistic.
"""

import copy
import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.ensemble.recipe import (
    Fusion,
    Gate,
    Member,
    Recipe,
    apply,
    image_probabilities,
    suppress_members,
)
from pneumonia.ensemble.tune import SPACE, Problem, Search, applies, fit, fit_threshold
from pneumonia.metrics.auc import auc_interval
from pneumonia.metrics.intervals import DRAWS, Interval, difference_interval, mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores, mean_iou_map
from pneumonia.system.errors import bad_input
from pneumonia.system.progress import say

OUTER_FOLDS = 5
UNSTABLE_SPREAD = 1.5  # in scales of a parameter: a larger standard deviation over the folds is reported


@dataclass
class FitResult:
    """A fitted recipe with its scores.

    recipe: fitted to all images.
    nested: score from held-out folds, with its interval.
    fitted_score: of the recipe on the images that it was fitted to.
    members: nested score of each member alone.
    gains: nested score minus the score without the member.
    detections: cross-fitted submission of all images; scores: (images,) its image scores. Of a single person's images
        it has no box and they are NaN: no recipe can be fitted on others.
    probabilities: (images,) cross-fitted probability of an opacity in each image; auc: theirs, with its interval. None
        of a single person's images.
    fold_recipes: fitted on the images outside each outer fold.
    unstable: {parameter: values of the folds}.
    """

    recipe: Recipe
    nested: Interval
    fitted_score: float
    members: dict[str, Interval] = field(default_factory=dict)
    gains: dict[str, Interval] = field(default_factory=dict)
    detections: Detections | None = None
    scores: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    auc: Interval | None = None
    fold_recipes: list[Recipe] = field(default_factory=list)
    unstable: dict[str, list[float]] = field(default_factory=dict)

    @property
    def nested_score(self) -> float:
        return self.nested.value

    @property
    def low(self) -> float:
        return self.nested.low

    @property
    def high(self) -> float:
        return self.nested.high


def fit_nested(
    problem: Problem, start: Recipe | None = None, search: Search | None = None, draws: int = DRAWS
) -> FitResult:
    """Fit a recipe and score the fitting by nested cross-validation over people.

    Args:
        problem: from `problem_of`.
        start: where the search starts; its members and classifiers are replaced by the problem's.
        search: for each outer fold and for all images; its seed also draws the outer folds.
        draws: bootstrap draws of the intervals.
    """
    # a new list, so that each suppressed table replaces its original in memory: at full scale the tables are 0.5 GB
    problem = dataclasses.replace(problem, members=list(problem.members))
    search = (search or Search(title="ensemble")).split_time(OUTER_FOLDS + 1)
    start = with_members(start or Recipe(), problem.names, problem.classifier_names)
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, search.seed)
    people, positive = problem.people.max() + 1, problem.truth.positive.sum()
    say(f"{search.title}: {len(fold)} images of {people} people, {positive} positive")
    member_scores = scores_alone(problem, fold, search.seed)
    remove_duplicates(start, problem)
    recipes = [
        fit(problem.rows(np.flatnonzero(fold != k)), start, search.with_subtitle(f"outer fold {k}"))
        for k in fold_numbers(fold)
    ]
    recipe = fit(problem, start, search.with_subtitle("all images"))
    return score_recipes(problem, fold, recipe, recipes, member_scores, search.seed, draws)


def fold_numbers(fold: np.ndarray) -> range:
    """The outer folds to fit and score; none if all images are in one."""
    return range(fold.max() + 1 if fold.max() > 0 else 0)


def scores_alone(problem: Problem, fold: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return the (images,) scores of each member alone with a cross-fitted threshold; empty for a single fold."""
    members = range(len(problem.members) if fold.max() > 0 else 0)
    return [image_scores(problem.truth, cross_fit_member(problem, fold, member, seed)) for member in members]


def remove_duplicates(recipe: Recipe, problem: Problem) -> None:
    """Suppress each member's duplicate boxes, in place, once for all fits."""
    for row, table in enumerate(problem.members):
        (problem.members[row],) = suppress_members(recipe, [table])
    problem.is_suppressed = True


def score_recipes(
    problem: Problem,
    fold: np.ndarray,
    recipe: Recipe,
    fold_recipes: Sequence[Recipe],
    member_scores: Sequence[np.ndarray],
    seed: int,
    draws: int,
) -> FitResult:
    """Score fitted recipes.

    Args:
        recipe: fitted to all images.
        fold_recipes: of each outer fold; empty if there is a single person.
        member_scores: (images,) scores of each member alone.
    """
    fitted_score = mean_iou_map(problem.truth, apply(recipe, problem.members, problem.classifiers))
    detections = apply_cross_fitted(problem, fold, fold_recipes)
    scores = image_scores(problem.truth, detections) if fold_recipes else np.full(len(fold), np.nan)
    result = FitResult(recipe, mean_interval(scores, problem.people, draws, seed), fitted_score)
    result.detections, result.scores, result.fold_recipes = detections, scores, list(fold_recipes)
    if fold_recipes:
        result.probabilities = cross_fitted_probabilities(problem, fold, fold_recipes)
        result.auc = auc_interval(problem.truth.positive, result.probabilities, problem.people, draws, seed)
    result.unstable = unstable_parameters(problem, fold_recipes)
    for member, name in enumerate(problem.names):
        alone = member_scores[member] if fold_recipes else scores
        result.members[name] = mean_interval(alone, problem.people, draws, seed)
        if len(problem.names) > 1 and fold_recipes:
            without = image_scores(problem.truth, cross_fit_without(problem, fold, fold_recipes, member, seed))
            result.gains[name] = difference_interval(scores, without, problem.people, draws, seed)
    return result


def problem_of(
    members: Mapping[str, Detections],
    classifiers: Mapping[str, ClassProbabilities],
    truth: Truth,
    groups: Mapping[str, Hashable] | None = None,
) -> Problem:
    """Build the problem that a recipe is fitted to: all tables in the first member's order of images.

    Args:
        members, classifiers: tables by name; all have the same images, in any order.
        truth: has all those images; others are ignored.
        groups: image to person; an image that is not in it counts as a separate person.

    Raises:
        BadInput: no member, tables with different images, images without a label.
    """
    if not members:
        raise bad_input("members", "no members are given", "give members=[A.csv,B.csv]")
    names = next(iter(members.values())).ids
    check_same_images(members, classifiers)
    if not names:
        raise bad_input(next(iter(members)), "has no image", "give tables with images")
    known = set(truth.ids)
    unknown = [name for name in names if name not in known]
    if unknown:
        what = f"{len(unknown)} images have no label, the first is {unknown[0]}"
        raise bad_input(next(iter(members)), what, "give the labels of the images that the members predict")
    return Problem(
        [table if table.ids == names else table.select(names) for table in members.values()],
        [table if table.ids == names else table.select(names) for table in classifiers.values()],
        truth.select(names),
        people_of(names, groups),
        list(members),
        list(classifiers),
    )


def check_same_images(members: Mapping[str, Detections], classifiers: Mapping[str, ClassProbabilities]) -> None:
    """Check that all tables have the images of the first member.

    Raises:
        BadInput: names the first table that does not.
    """
    first, *_ = members
    expected_ids = set(members[first].ids)
    for name, table in [*members.items(), *classifiers.items()]:
        ids = set(table.ids)
        if ids != expected_ids:
            missing, extra = sorted(expected_ids - ids), sorted(ids - expected_ids)
            parts = [f"lacks {len(missing)} (first {missing[0]})"] if missing else []
            parts += [f"has {len(extra)} more (first {extra[0]})"] if extra else []
            what = f"covers other images than {first}: {' and '.join(parts)}"
            raise bad_input(name, what, "all members and classifiers must cover the same images")


def with_members(start: Recipe, members: Sequence[str], classifiers: Sequence[str]) -> Recipe:
    """Return the recipe with these members and classifiers; names that it already had keep their weights, if any is
    above 0."""
    recipe = copy.deepcopy(start)
    recipe.members = with_weights(members, recipe.members)
    recipe.classifiers = with_weights(classifiers, recipe.classifiers)
    return recipe


def with_weights(names: Sequence[str], known: Sequence[Member]) -> list[Member]:
    weights = {member.name: member.weight for member in known}
    made = [Member(name, weights.get(name, 1.0)) for name in names]
    return made if any(member.weight for member in made) else [Member(name) for name in names]


def outer_folds(people: np.ndarray, positive: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Assign each image to a fold: each person to one, with positives and images spread evenly; (images,) int64.

    With fewer people there are fewer folds; a single person gives one fold, and so no nested score.
    """
    count = int(people.max()) + 1
    positives = np.bincount(people, weights=positive, minlength=count)
    images = np.bincount(people, minlength=count)
    folds = min(folds, count)
    generator = np.random.default_rng(seed)
    order = generator.permutation(count)
    order = order[np.lexsort((-images[order], -positives[order]))]
    fold_of_person = np.zeros(count, dtype=np.int64)
    load = np.zeros((2, folds))
    for person in order:
        first, second = (load[0], load[1]) if positives[person] else (load[1], load[0])
        fold = np.lexsort((generator.random(folds), second, first))[0]
        fold_of_person[person] = fold
        load[:, fold] += positives[person], images[person]
    return np.unique(fold_of_person, return_inverse=True)[1][people]


def apply_cross_fitted(problem: Problem, fold: np.ndarray, recipes: Sequence[Recipe]) -> Detections:
    """Apply to each image the recipe that was fitted without its fold."""
    boxes: list = [np.empty((0, 4))] * len(fold)
    scores: list = [np.empty(0)] * len(fold)
    for k, recipe in enumerate(recipes):
        images = np.flatnonzero(fold == k)
        part = problem.rows(images)
        detections = apply(recipe, part.members, part.classifiers)
        for row, image in enumerate(images):
            boxes[image], scores[image] = detections.image(row)
    return Detections.from_lists(problem.truth.ids, boxes, scores)


def cross_fitted_probabilities(problem: Problem, fold: np.ndarray, recipes: Sequence[Recipe]) -> np.ndarray:
    """Return each image's probability of an opacity, (images,), by the recipe that was fitted without its fold."""
    probabilities = np.zeros(len(fold))
    for k, recipe in enumerate(recipes):
        part = problem.rows(np.flatnonzero(fold == k))
        probabilities[fold == k] = image_probabilities(recipe, part.members, part.classifiers)
    return probabilities


def cross_fit_member(problem: Problem, fold: np.ndarray, member: int, seed: int) -> Detections:
    """Return the boxes of one member alone, unchanged except for a cross-fitted threshold."""
    single = dataclasses.replace(problem.select_members([member]), classifiers=[], classifier_names=[])
    recipe = plain_recipe()
    recipes = [fit_threshold(single.rows(np.flatnonzero(fold != k)), recipe, seed) for k in range(fold.max() + 1)]
    return apply_cross_fitted(single, fold, recipes)


def cross_fit_alone(problem: Problem, seed: int) -> Detections | None:
    """Return the boxes of a problem's only member with a cross-fitted threshold; None where all images are of one
    person, so that no threshold can be fitted on others."""
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, seed)
    return cross_fit_member(problem, fold, 0, seed) if fold.max() > 0 else None


def plain_recipe() -> Recipe:
    """Return a recipe of one member that only applies the threshold, to at most MAX_BOXES boxes of an image: at IoU 1
    nothing is suppressed, and in an endless frame nothing is cut."""
    fusion = Fusion(nms_iou=1.0, method="nms", iou=1.0, min_score=0.0)
    frame = [math.inf, math.inf]
    return Recipe([Member()], [], "none", fusion, Gate(0.0), shrink_width=1.0, shrink_height=1.0, frame=frame)


def cross_fit_without(
    problem: Problem, fold: np.ndarray, recipes: Sequence[Recipe], member: int, seed: int
) -> Detections:
    """Return the cross-fitted submission without one member: the folds' recipes with thresholds fitted again."""
    others = [other for other in range(len(problem.members)) if other != member]
    smaller = problem.select_members(others)
    smaller_recipes = []
    for k, recipe in enumerate(recipes):
        recipe = copy.deepcopy(recipe)
        recipe.members = [recipe.members[other] for other in others]
        if not sum(remaining.weight for remaining in recipe.members):
            for remaining in recipe.members:
                remaining.weight = 1.0
        smaller_recipes.append(fit_threshold(smaller.rows(np.flatnonzero(fold != k)), recipe, seed))
    return apply_cross_fitted(smaller, fold, smaller_recipes)


def unstable_parameters(problem: Problem, recipes: Sequence[Recipe]) -> dict[str, list[float]]:
    """Return the parameters that differ much between the folds, with their values: they may not suit other data."""
    unstable = {}
    for parameter in SPACE:
        if applies(parameter, problem) and len(recipes) > 1:
            values = [parameter.get(recipe) for recipe in recipes]
            if np.std(values) > UNSTABLE_SPREAD * parameter.scale:
                unstable[parameter.name] = [round(value, 4) for value in values]
    return unstable
