"""Fit shrink factors and threshold on images with the distribution of the test set: `tune_on=`.

The competition's test images differ from its training images: more are positive and the boxes are tighter, which is why
every winner shrank its boxes. The first stage's thousand test images, whose labels are public, are the only labelled
ones like them. Shrink factors and threshold, which depend on the distribution, are fitted on those; the rest on others.
"""

from collections.abc import Sequence

import numpy as np

from pneumonia.ensemble.nested import (
    OUTER_FOLDS,
    FitResult,
    fold_numbers,
    outer_folds,
    score_recipes,
    scores_alone,
    with_members,
)
from pneumonia.ensemble.recipe import Recipe
from pneumonia.ensemble.tune import Problem, Search, fit, refit
from pneumonia.metrics.intervals import DRAWS
from pneumonia.system.errors import bad_input
from pneumonia.system.progress import say


def fit_tuned_on(
    ids: Sequence[str],
    everything: Problem,
    start: Recipe | None = None,
    search: Search | None = None,
    draws: int = DRAWS,
) -> FitResult:
    """As fit_nested, but shrink factors and threshold are fitted to `ids` alone, and only those images are scored.

    The rest of the recipe is fitted to images of other people: it has not seen the held-out folds, which are made of
    `ids`.

    Raises:
        BadInput: none of the ids is predicted, or no images of other people are left to fit the rest on.
    """
    search = (search or Search(title="ensemble")).split_time(OUTER_FOLDS + 2)
    start = with_members(start or Recipe(), everything.names, everything.classifier_names)
    id_set = set(ids)
    is_tuned_on = np.array([name in id_set for name in everything.truth.ids])
    is_other_person = ~np.isin(everything.people, everything.people[is_tuned_on])
    if not is_tuned_on.any():
        raise bad_input("tune_on", "the members predict none of its images", "give the ids of images that they predict")
    if not is_other_person.any():
        fix = "predict further images, of other people, or leave tune_on= out"
        raise bad_input("tune_on", "all predicted images are of the people in it", fix)
    counts = f"{is_tuned_on.sum()} images of tune_on=, {is_other_person.sum()} of other people to fit the rest on"
    say(f"{search.title}: {counts}")
    base = fit(everything.rows(np.flatnonzero(is_other_person)), start, search.with_subtitle("other images"))
    problem = everything.rows(np.flatnonzero(is_tuned_on))
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, search.seed)
    member_scores = scores_alone(problem, fold, search.seed)
    recipes = [
        refit(problem.rows(np.flatnonzero(fold != k)), base, search.with_subtitle(f"outer fold {k}"))
        for k in fold_numbers(fold)
    ]
    recipe = refit(problem, base, search.with_subtitle("all of tune_on"))
    return score_recipes(problem, fold, recipe, recipes, member_scores, search.seed, draws)
