"""The score that can be believed: outer folds by person; everything is fitted on the others, then scored on the one.

Beside it stands the fitted score, of the recipe on the very images it was fitted to: optimistic, and named so.
"""

import copy
import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.ensemble.recipe import Fusion, Gate, Member, Recipe, apply, suppressed
from pneumonia.ensemble.tune import SPACE, Problem, Search, applies, fit, with_threshold
from pneumonia.metrics.intervals import DRAWS, Interval, difference_interval, mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores, mean_iou_map
from pneumonia.system.errors import bad_input
from pneumonia.system.progress import say

OUTER_FOLDS = 5
JUMP = 1.5  # a parameter whose folds' standard deviation exceeds this many of its scales is unstable


@dataclass
class Fitted:
    """What fitting gives.

    recipe: fitted to all images. nested: its procedure's score with interval, from held-out folds; fitted_score: the
    recipe on the images it was fitted to. members: each alone, its threshold cross-fitted likewise. added: nested score
    minus the score without the member. detections: the cross-fitted submission of all images; scores: (images,) its
    image scores. unstable: {parameter: the folds' values}.
    """

    recipe: Recipe
    nested: Interval
    fitted_score: float
    members: dict[str, Interval] = field(default_factory=dict)
    added: dict[str, Interval] = field(default_factory=dict)
    detections: Detections | None = None
    scores: np.ndarray | None = None
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
) -> Fitted:
    """Fit a recipe and score its procedure by nested cross-validation over people.

    Args:
        problem: of `problem_of`.
        start: where the search begins; its member lists are replaced.
        search: each of the searches (one per outer fold, one on all images); its seed is the outer folds' too.
        draws: of the intervals.
    """
    # a list of its own: at full scale the tables are 0.5 GB, and without their duplicates they take their own place
    problem = dataclasses.replace(problem, members=list(problem.members))
    search = (search or Search(title="ensemble")).shared(OUTER_FOLDS + 1)
    start = with_members(start or Recipe(), problem.names, problem.classifier_names)
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, search.seed)
    people, positive = problem.people.max() + 1, problem.truth.positive.sum()
    say(f"{search.title}: {len(fold)} images of {people} people, {positive} positive")
    enough = fold.max() > 0
    own = scores_alone(problem, fold, search.seed)
    remove_duplicates(start, problem)
    recipes = [
        fit(problem.rows(np.flatnonzero(fold != k)), start, search.on(f"outer fold {k}"))
        for k in range((fold.max() + 1) * enough)
    ]
    recipe = fit(problem, start, search.on("all images"))
    return assembled(problem, fold, [recipe, *recipes], own, search.seed, draws)


def scores_alone(problem: Problem, fold: np.ndarray, seed: int) -> list[np.ndarray]:
    """(images,) scores of each member alone, its threshold cross-fitted; none where there is a single fold."""
    members = range(len(problem.members) if fold.max() > 0 else 0)
    return [image_scores(problem.truth, alone(problem, fold, place, seed)) for place in members]


def remove_duplicates(recipe: Recipe, problem: Problem) -> None:
    """Suppress inside every member once, in place: doing it again changes nothing."""
    for place, table in enumerate(problem.members):
        (problem.members[place],) = suppressed(recipe, [table])
    problem.clean = True


def assembled(
    problem: Problem, fold: np.ndarray, fitted: Sequence[Recipe], own: Sequence[np.ndarray], seed: int, draws: int
) -> Fitted:
    """The scores of what was fitted. fitted: the recipe of all images, then each outer fold's, of which there is none
    for a single person; own: (images,) scores of each member alone."""
    recipe, *recipes = fitted
    fitted_score = mean_iou_map(problem.truth, apply(recipe, problem.members, problem.classifiers))
    found = cross_fitted(problem, fold, recipes)
    scores = image_scores(problem.truth, found) if recipes else np.full(len(fold), np.nan)
    result = Fitted(recipe, mean_interval(scores, problem.people, draws, seed), fitted_score)
    result.detections, result.scores, result.fold_recipes = found, scores, recipes
    result.unstable = unstable_parameters(problem, recipes)
    for place, name in enumerate(problem.names):
        mine = own[place] if recipes else scores
        result.members[name] = mean_interval(mine, problem.people, draws, seed)
        if len(problem.names) > 1 and recipes:
            without = image_scores(problem.truth, left_out(problem, fold, recipes, place, seed))
            result.added[name] = difference_interval(scores, without, problem.people, draws, seed)
    return result


def problem_of(
    members: Mapping[str, Detections],
    classifiers: Mapping[str, ClassProbabilities],
    truth: Truth,
    groups: Mapping[str, Hashable] | None = None,
) -> Problem:
    """What a recipe is fitted to: the tables in the first member's order of images.

    Args:
        members, classifiers: tables by name. All cover the same images, in any order.
        truth: has all those images; others are not looked at.
        groups: image to person; an image that it lacks is a person of its own.

    Raises:
        BadInput: no member, tables that cover different images, images without a label.
    """
    if not members:
        raise bad_input("members", "no member is given", "give members=[A.csv,B.csv]")
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
    """Raises BadInput naming the first table that covers other images than the first member."""
    first, *_ = members
    wanted = set(members[first].ids)
    for name, table in [*members.items(), *classifiers.items()]:
        given = set(table.ids)
        if given != wanted:
            lacking, extra = sorted(wanted - given), sorted(given - wanted)
            parts = [f"lacks {len(lacking)} (first {lacking[0]})"] if lacking else []
            parts += [f"has {len(extra)} more (first {extra[0]})"] if extra else []
            what = f"covers other images than {first}: {' and '.join(parts)}"
            raise bad_input(name, what, "all members and classifiers must cover the same images")


def with_members(start: Recipe, members: Sequence[str], classifiers: Sequence[str]) -> Recipe:
    """The starting recipe for these tables; weights by name where the start names them."""
    recipe = copy.deepcopy(start)
    given = {part.name: part.weight for part in recipe.members + recipe.classifiers}
    recipe.members = [Member(name, given.get(name, 1.0)) for name in members]
    recipe.classifiers = [Member(name, given.get(name, 1.0)) for name in classifiers]
    return recipe


def outer_folds(people: np.ndarray, positive: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(images,) fold of each image: whole people, positives and images spread evenly. As many folds as there are people
    with and without positives allow; a single person gives one fold, and no nested score."""
    count = int(people.max()) + 1
    positives = np.bincount(people, weights=positive, minlength=count)
    images = np.bincount(people, minlength=count)
    folds = min(folds, count)
    generator = np.random.default_rng(seed)
    order = generator.permutation(count)
    order = order[np.lexsort((-images[order], -positives[order]))]
    of_person = np.zeros(count, dtype=np.int64)
    load = np.zeros((2, folds))
    for person in order:
        first, second = (load[0], load[1]) if positives[person] else (load[1], load[0])
        place = np.lexsort((generator.random(folds), second, first))[0]
        of_person[person] = place
        load[:, place] += positives[person], images[person]
    return np.unique(of_person, return_inverse=True)[1][people]


def cross_fitted(problem: Problem, fold: np.ndarray, recipes: Sequence[Recipe]) -> Detections:
    """Every image's submission by the recipe that did not see it."""
    boxes: list = [np.empty((0, 4))] * len(fold)
    scores: list = [np.empty(0)] * len(fold)
    for k, recipe in enumerate(recipes):
        places = np.flatnonzero(fold == k)
        part = problem.rows(places)
        found = apply(recipe, part.members, part.classifiers)
        for row, place in enumerate(places):
            boxes[place], scores[place] = found.image(row)
    return Detections.from_lists(problem.truth.ids, boxes, scores)


def alone(problem: Problem, fold: np.ndarray, place: int, seed: int) -> Detections:
    """One member as it is, with nothing but its threshold, which is cross-fitted."""
    single = dataclasses.replace(problem.of_members([place]), classifiers=[], classifier_names=[])
    recipe = plain_recipe()
    recipes = [with_threshold(single.rows(np.flatnonzero(fold != k)), recipe, seed) for k in range(fold.max() + 1)]
    return cross_fitted(single, fold, recipes)


def plain_recipe() -> Recipe:
    """A single member, untouched but for the threshold: IoU 1 suppresses nothing."""
    fusion = Fusion(nms_iou=1.0, method="nms", iou=1.0, min_score=0.0)
    return Recipe([Member()], [], "none", fusion, Gate(0.0), shrink_width=1.0, shrink_height=1.0)


def left_out(problem: Problem, fold: np.ndarray, recipes: Sequence[Recipe], place: int, seed: int) -> Detections:
    """The cross-fitted submission without one member: the folds' recipes, their thresholds fitted anew."""
    kept = [other for other in range(len(problem.members)) if other != place]
    smaller = problem.of_members(kept)
    changed = []
    for k, recipe in enumerate(recipes):
        recipe = copy.deepcopy(recipe)
        recipe.members = [recipe.members[other] for other in kept]
        if not sum(part.weight for part in recipe.members):
            for part in recipe.members:
                part.weight = 1.0
        changed.append(with_threshold(smaller.rows(np.flatnonzero(fold != k)), recipe, seed))
    return cross_fitted(smaller, fold, changed)


def unstable_parameters(problem: Problem, recipes: Sequence[Recipe]) -> dict[str, list[float]]:
    """Parameters that jump between the folds, with their values: what they say, the next data set may not."""
    jumping = {}
    for each in SPACE:
        if applies(each, problem) and len(recipes) > 1:
            values = [each.get(recipe) for recipe in recipes]
            if np.std(values) > JUMP * each.scale:
                jumping[each.name] = [round(value, 4) for value in values]
    return jumping
