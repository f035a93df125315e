"""Fitting to images that are drawn like the test set: `tune_on=`.

The competition's test images are not drawn like its training images: more are positive and the boxes are tighter, which
is why every winner shrank its boxes. The first stage's thousand test images, whose labels are public, are the only ones
like them. What the distribution changes, shrink factors and threshold, is fitted on those; all else on the others.
"""

from collections.abc import Sequence

import numpy as np

from pneumonia.ensemble.nested import OUTER_FOLDS, Fitted, assembled, outer_folds, scores_alone, with_members
from pneumonia.ensemble.recipe import Recipe
from pneumonia.ensemble.tune import Problem, Search, fit, refit
from pneumonia.metrics.intervals import DRAWS
from pneumonia.system.errors import bad_input
from pneumonia.system.progress import say


def fit_shifted(
    ids: Sequence[str],
    everything: Problem,
    start: Recipe | None = None,
    search: Search | None = None,
    draws: int = DRAWS,
) -> Fitted:
    """As fit_nested, but shrink factors and threshold are fitted to `ids` alone, and all scores are those images'.

    The rest of the recipe is fitted to the other images, less the people of `ids`: so the held-out folds, which are
    made of `ids`, are new to it.

    Raises:
        BadInput: none of the ids is predicted, or nothing is left to fit the rest on.
    """
    search = (search or Search(title="ensemble")).shared(OUTER_FOLDS + 2)
    start = with_members(start or Recipe(), everything.names, everything.classifier_names)
    wanted = set(ids)
    chosen = np.array([name in wanted for name in everything.truth.ids])
    theirs = np.isin(everything.people, everything.people[chosen])
    if not chosen.any():
        raise bad_input("tune_on", "the members predict none of its images", "give the ids of images that they predict")
    if theirs.all():
        fix = "predict further images, of other people, or leave tune_on= out"
        raise bad_input("tune_on", "all predicted images are of its people", fix)
    say(f"{search.title}: {chosen.sum()} images of tune_on=, {(~theirs).sum()} of other people to fit the rest on")
    base = fit(everything.rows(np.flatnonzero(~theirs)), start, search.on("other images"))
    problem = everything.rows(np.flatnonzero(chosen))
    fold = outer_folds(problem.people, problem.truth.positive, OUTER_FOLDS, search.seed)
    enough = fold.max() > 0
    own = scores_alone(problem, fold, search.seed)
    recipes = [
        refit(problem.rows(np.flatnonzero(fold != k)), base, search.on(f"outer fold {k}"))
        for k in range((fold.max() + 1) * enough)
    ]
    recipe = refit(problem, base, search.on("all of tune_on"))
    return assembled(problem, fold, [recipe, *recipes], own, search.seed, draws)
