"""Fitting and its honest score: on data with a known answer, and on data with next to nothing in it."""

import itertools
import math

import numpy as np
import pytest

from pneumonia.boxes.predictions import Detections
from pneumonia.ensemble.nested import fit_nested, outer_folds, problem_of, with_members
from pneumonia.ensemble.recipe import Member, Recipe, apply, best_of_image
from pneumonia.ensemble.stage1 import fit_tuned_on
from pneumonia.ensemble.tune import Search, best_smoothed_score, fit
from pneumonia.metrics.auc import auc
from pneumonia.metrics.iou_map import Steps, Truth, mean_iou_map
from pneumonia.system.errors import BadInput

QUICK = Search(trials=12)


def test_the_ensemble_beats_its_members_and_is_repeatable(competition):
    truth, members, classifiers, groups = competition()
    fitted = fit_nested(problem_of(members, classifiers, truth, groups), search=QUICK, draws=200)
    assert fitted.nested_score > max(interval.value for interval in fitted.members.values())
    assert fitted.low < fitted.nested_score < fitted.high
    assert set(fitted.gains) == set(members) and len(fitted.fold_recipes) == 5
    assert fitted.fitted_score == pytest.approx(
        mean_iou_map(truth, apply(fitted.recipe, list(members.values()), list(classifiers.values())))
    )
    assert mean_iou_map(truth, fitted.detections) == pytest.approx(fitted.nested_score)
    again = fit_nested(problem_of(members, classifiers, truth, groups), search=QUICK, draws=200)
    assert again.recipe == fitted.recipe and again.nested == fitted.nested


def test_all_tables_together_tell_which_images_have_an_opacity(competition):
    """Better than any of them, also on people that nothing was fitted on; calibrated, as the mean shows."""
    truth, members, classifiers, groups = competition(240)
    fitted = fit_nested(problem_of(members, classifiers, truth, groups), search=Search(1), draws=50)
    alone = [best_of_image(table) for table in members.values()] + [each.opacity for each in classifiers.values()]
    assert fitted.auc.value > max(auc(truth.positive, values) for values in alone)
    assert fitted.auc.value == auc(truth.positive, fitted.probabilities)
    assert fitted.probabilities.mean() == pytest.approx(truth.positive.mean(), abs=0.03)


def test_the_tables_may_list_the_images_in_any_order(competition):
    truth, members, classifiers, groups = competition(60)
    straight = fit_nested(problem_of(members, classifiers, truth, groups), search=Search(1), draws=50)
    backwards = {name: table.rows(np.arange(60)[::-1]) for name, table in members.items() if name != "a"}
    mixed = {"a": members["a"], **backwards}
    turned = {name: table.rows(np.arange(60)[::-1]) for name, table in classifiers.items()}
    assert fit_nested(problem_of(mixed, turned, truth, groups), search=Search(1), draws=50).nested == straight.nested


def test_oversized_boxes_are_shrunk(competition):
    truth, members, _, groups = competition(240, oversize=1.3)
    recipe = fit_nested(problem_of(members, {}, truth, groups), search=Search(40), draws=50).recipe
    assert recipe.shrink_width < 0.95 and recipe.shrink_height < 0.95


def test_shrink_is_fitted_to_the_images_of_tune_on(competition):
    truth, members, classifiers, groups = competition(240, oversize=1.0)
    _, wide, _, _ = competition(240, oversize=1.35)
    ids = list(truth.ids)
    shifted = {}
    for name, table in members.items():  # the last 80 images have oversized boxes
        parts = [table.image(row) if row < 160 else wide[name].image(row) for row in range(240)]
        shifted[name] = Detections.from_lists(ids, [boxes for boxes, _ in parts], [scores for _, scores in parts])
    fitted = fit_tuned_on(ids[160:], problem_of(shifted, classifiers, truth, groups), search=Search(40), draws=50)
    assert fitted.recipe.shrink_width < 0.95 and fitted.recipe.shrink_height < 0.95
    assert len(fitted.scores) == 80 and fitted.nested_score > 0
    with pytest.raises(BadInput, match="predict none"):
        fit_tuned_on(["nobody"], problem_of(members, classifiers, truth, groups))
    with pytest.raises(BadInput, match="all predicted images"):
        fit_tuned_on(ids, problem_of(members, classifiers, truth, groups))


@pytest.mark.parametrize("images", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["as it comes", "no truth", "no boxes", "one person", "all certain"])
def test_next_to_nothing_is_no_crash(competition, images, kind):
    truth, members, classifiers, groups = competition(images, seed=images)
    if kind == "no truth":
        truth = Truth.from_lists(truth.ids, [[]] * images)
    if kind == "no boxes":
        members = {name: table.keep(np.zeros(len(table.scores), dtype=bool)) for name, table in members.items()}
    if kind == "one person":
        groups = dict.fromkeys(truth.ids, "one")
    if kind == "all certain":
        members = {name: table.with_scores(np.ones(len(table.scores))) for name, table in members.items()}
    fitted = fit_nested(problem_of(members, classifiers, truth, groups), search=Search(3), draws=20)
    people = len({*groups.values()})
    assert math.isnan(fitted.nested_score) if people == 1 else fitted.detections.ids == truth.ids
    found = apply(fitted.recipe, list(members.values()), list(classifiers.values()))
    assert found.ids == truth.ids and (found.scores <= 1).all()


def test_a_member_without_boxes_does_no_harm(competition):
    truth, members, _, groups = competition(80)
    silent = members["a"].keep(np.zeros(len(members["a"].scores), dtype=bool))
    fitted = fit_nested(problem_of({**members, "silent": silent}, {}, truth, groups), search=Search(1), draws=50)
    assert fitted.recipe.members[3].weight == 0 and fitted.members["silent"].value == 0
    assert fitted.gains["silent"].value == 0
    alone = fit_nested(problem_of({"silent": silent}, {}, truth, groups), search=Search(1), draws=50)
    assert alone.nested_score == 0


def test_whole_people_go_to_a_fold_and_positives_are_spread():
    generator = np.random.default_rng(0)
    people = np.unique(generator.integers(0, 60, 200), return_inverse=True)[1]
    positive = generator.random(200) < 0.3
    fold = outer_folds(people, positive, 5, seed=0)
    assert all(len(set(fold[people == person])) == 1 for person in range(people.max() + 1))
    counts = np.bincount(fold, weights=positive)
    assert counts.max() - counts.min() <= 3 and set(fold) == set(range(5))


def test_what_does_not_fit_together_is_named(competition):
    truth, members, classifiers, groups = competition(20)
    short = {"a": members["a"], "b": members["b"].rows(np.arange(1, 20))}
    with pytest.raises(BadInput, match=r"b: covers other images than a: lacks 1 \(first i0\)"):
        problem_of(short, {}, truth, groups)
    with pytest.raises(BadInput, match="no member"):
        problem_of({}, classifiers, truth, groups)
    with pytest.raises(BadInput, match="1 images have no label, the first is i0"):
        problem_of(members, {}, truth.rows(np.arange(1, 20)), groups)


def test_given_weights_are_kept(competition):
    truth, members, _, groups = competition(60)
    start = Recipe([Member("c", 0.25), Member("a", 1.0), Member("b", 0.5)])
    fitted = fit_nested(problem_of(members, {}, truth, groups), start, Search(1), draws=20)
    assert [part.weight for part in fitted.recipe.members] == [1.0, 0.5, 0.25]


def test_members_alone_are_scored_beyond_the_default_frame(competition):
    """The same images four times as large."""
    truth, members, classifiers, groups = competition(60)
    large = Truth.from_lists(truth.ids, [truth.boxes[slice(*pair)] * 4 for pair in itertools.pairwise(truth.offsets)])
    tables = {name: table.with_boxes(table.boxes * 4) for name, table in members.items()}
    small = fit_nested(problem_of(members, classifiers, truth, groups), Recipe(), Search(1), draws=20)
    fitted = fit_nested(problem_of(tables, classifiers, large, groups), Recipe(frame=[4096.0] * 2), Search(1), draws=20)
    for name, interval in small.members.items():
        assert 0 < interval.value == pytest.approx(fitted.members[name].value, abs=1e-9)


def test_a_member_and_a_classifier_of_one_name_have_their_own_weights():
    start = Recipe([Member("a", 0.6), Member("b", 1.0)], [Member("a", 0.3), Member("c", 0.0)])
    recipe = with_members(start, ["b", "a"], ["a", "d"])
    assert [part.weight for part in recipe.members] == [1.0, 0.6]
    assert [part.weight for part in recipe.classifiers] == [0.3, 1.0]
    assert [part.weight for part in with_members(start, ["a"], ["c"]).classifiers] == [1.0]  # not 0 in all


@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_rounded_confidences_do_not_widen_the_smoothing(decimals):
    """False boxes are half as many as true ones at confidences above 0.5, and nine times as many below."""
    generator = np.random.default_rng(decimals)
    count = 4000
    confidence = np.sort(generator.random(count))[::-1]
    is_true = generator.random(count) < np.where(confidence > 0.5, 0.67, 0.1)
    image = np.arange(count)

    def best(values):
        steps = Steps(values, np.where(is_true, 0.8, 0.0), (~is_true).astype(float), image, np.arange(count) < 2000)
        return best_smoothed_score(steps)

    assert best(np.round(confidence, decimals)) == pytest.approx(best(confidence), abs=0.03)


def test_where_no_box_ever_helps_none_is_submitted():
    truth = Truth.from_lists(["a", "b"], [[], []])
    certain = Detections.from_lists(["a", "b"], [[[1.0, 1, 9, 9]]] * 2, [[1.0]] * 2)
    recipe = fit(problem_of({"m": certain}, {}, truth), with_members(Recipe(), ["m"], []), Search(1))
    assert not len(apply(recipe, [certain]).scores)
