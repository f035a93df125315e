"""Folds merged: confidences keep a single fold's meaning, by a map that is fitted once and stands in the recipe."""

import dataclasses

import numpy as np
import pytest

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.boxes.same_model import merge_same_model
from pneumonia.ensemble.merge import (
    apply_to_folds,
    fit_merge_maps,
    merge_classes,
    merge_detections,
    merge_folds,
)
from pneumonia.ensemble.recipe import Member, Recipe, image_probabilities, read_recipe, recipe_of, write_recipe
from pneumonia.ensemble.score_map import ScoreMap, fit_score_map
from pneumonia.system.errors import BadInput


def noisy_folds(folds=5, images=400):
    """Models that see the same objects, each with its own noise in place and confidence, and its own false boxes."""
    generator = np.random.default_rng(7)
    ids = [str(number) for number in range(images)]
    objects = [generator.uniform(100, 700, size=(generator.integers(0, 3), 2)) for _ in ids]
    logits = [generator.normal(0, 1.5, len(each)) for each in objects]
    tables = []
    for _ in range(folds):
        boxes, scores = [], []
        for places, strength in zip(objects, logits):
            false = generator.uniform(100, 700, size=(generator.integers(0, 2), 2))
            corner = np.concatenate([places + generator.normal(0, 12, places.shape), false])
            value = np.concatenate(
                [strength + generator.normal(0, 1, len(places)), generator.normal(-2, 1, len(false))]
            )
            boxes.append(np.concatenate([corner, np.full((len(corner), 2), 180.0)], axis=1))
            scores.append(1 / (1 + np.exp(-value)))
        tables.append(Detections.from_lists(ids, boxes, scores))
    return tables


def class_folds(folds=5, images=500):
    generator = np.random.default_rng(0)
    evidence = generator.normal(0, 1, images)
    tables = []
    for _ in range(folds):
        logits = np.stack([np.zeros(images), generator.normal(0, 1, images), evidence + generator.normal(0, 1, images)])
        normal, not_normal, opacity = np.exp(logits) / np.exp(logits).sum(axis=0)
        tables.append(ClassProbabilities(tuple(map(str, range(images))), opacity, normal, not_normal))
    return tables


def folds_of(images=400):
    return {"boxes": noisy_folds(images=images), "classes": class_folds(images=images)}


def recipe_for(folds) -> Recipe:
    return fit_merge_maps(Recipe([Member("boxes")], [Member("classes")]), folds)


def test_an_images_probability_does_not_depend_on_threshold_and_cutoff():
    folds, sizes = folds_of(100), np.full((100, 2), 1024)
    recipe = recipe_for(folds)
    strict = dataclasses.replace(recipe, threshold=0.9, gate=dataclasses.replace(recipe.gate, cutoff=0.5))
    of_recipe, of_strict = (image_probabilities(each, *merge_folds(each, folds)) for each in (recipe, strict))
    np.testing.assert_array_equal(of_recipe, of_strict)
    boxes = apply_to_folds(dataclasses.replace(recipe, threshold=0.0), folds, sizes)
    assert len(apply_to_folds(strict, folds, sizes).scores) < len(boxes.scores)


def test_merged_folds_keep_the_meaning_of_a_confidence():
    """Also on images on which the map was not fitted."""
    tables = noisy_folds(images=1200)
    fitted_on, others = np.arange(0, 1200, 2), np.arange(1, 1200, 2)
    (member,) = fit_merge_maps(Recipe([Member("m")]), {"m": [table.rows(fitted_on) for table in tables]}).members
    for rows, error in ((fitted_on, 0.03), (others, 0.12)):
        part = [table.rows(rows) for table in tables]
        merged, plain = merge_detections(member, part), merge_same_model(part)
        for threshold in (0.3, 0.5, 0.7, 0.9):
            single = np.mean([(table.scores >= threshold).sum() for table in part])
            assert (merged.scores >= threshold).sum() == pytest.approx(single, rel=error, abs=3)
        # which a mean over the folds does not do
        assert (plain.scores >= 0.9).sum() < 0.8 * np.mean([(table.scores >= 0.9).sum() for table in part])
        # the order is the fusion's
        assert (np.diff(merged.scores[np.argsort(-plain.scores, kind="stable")]) <= 0).all()


def test_class_folds_keep_the_spread_of_one_fold():
    tables = class_folds()
    (member,) = fit_merge_maps(Recipe(classifiers=[Member("m")]), {"m": tables}).classifiers
    merged = merge_classes(member, tables)
    for name in ("opacity", "not_normal"):
        spread = np.mean([getattr(table, name).std() for table in tables])
        assert getattr(merged, name).std() == pytest.approx(spread, rel=0.03)
        assert np.mean([getattr(table, name) for table in tables], axis=0).std() < 0.9 * spread
    assert (merged.normal >= 0).all()
    binary = [ClassProbabilities(table.ids, table.opacity) for table in tables]
    assert merge_classes(member, binary).not_normal is None


def test_one_fold_stays_as_it_is():
    (table,), (classes,) = noisy_folds(folds=1), class_folds(folds=1)
    recipe = fit_merge_maps(Recipe([Member("b")], [Member("c")]), {"b": [table], "c": [classes]})
    assert recipe == Recipe([Member("b")], [Member("c")])
    member = Member("b", merge=ScoreMap([0.0, 1.0], [0.5, 1.0]))  # of several folds
    assert merge_detections(member, [table]) is table and merge_classes(member, [classes]) is classes


def test_folds_of_other_images_are_refused():
    tables, classes = noisy_folds(folds=2), class_folds(folds=2)
    other = np.arange(1, len(tables[0]))
    with pytest.raises(ValueError, match="same images"):
        merge_detections(Member(), [tables[0], tables[1].rows(other)])
    with pytest.raises(ValueError, match="same images"):
        merge_classes(Member(), [classes[0], classes[1].rows(other)])


# ------------------------------------------------------------------ the map


def test_a_map_takes_one_distribution_to_the_other():
    generator = np.random.default_rng(0)
    merged, single = generator.beta(2, 4, 3000), generator.beta(1, 2, 9000)
    score_map = fit_score_map(merged, single, 3)
    assert score_map.is_monotone and len(score_map.knots_in) <= 34
    np.testing.assert_allclose(
        np.quantile(score_map(merged), [0.1, 0.5, 0.9, 0.99]), np.quantile(single, [0.1, 0.5, 0.9, 0.99]), atol=0.01
    )


def test_more_boxes_than_a_single_model_has_keep_their_proportions_below_its_last():
    score_map = fit_score_map(np.array([0.6, 0.5, 0.2]), np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), 3)
    np.testing.assert_allclose(score_map(np.array([0.6, 0.5, 0.2])), [0.8, 0.5, 0.5 * 0.2 / 0.5])


@pytest.mark.parametrize("scores", [[], [0.5], [0.0], [1.0], [0.0, 1.0], [0.3, 0.3, 0.3, 0.3], [1e-9, 1e-12]])
@pytest.mark.parametrize("single", [[], [0.7], [0.0, 0.0, 0.0], [1.0] * 6, [0.2, 0.9, 1e-9]])
def test_next_to_nothing_gives_an_increasing_map(scores, single):
    score_map = fit_score_map(np.array(scores), np.array(single), 3)
    values = score_map(np.linspace(0, 1, 101))
    assert score_map.is_monotone and (np.diff(values) >= 0).all() and values[0] >= 0 and values[-1] <= 1


def test_the_maps_come_back_from_the_file_bit_for_bit(tmp_path):
    folds = folds_of()
    recipe = recipe_for(folds)
    write_recipe(tmp_path / "recipe.yaml", recipe)
    again = read_recipe(tmp_path / "recipe.yaml")
    assert [dataclasses.astuple(part)[3:] for part in again.members + again.classifiers] == [
        dataclasses.astuple(part)[3:] for part in recipe.members + recipe.classifiers
    ]
    sizes = np.full((400, 2), 1024)
    one, other = apply_to_folds(recipe, folds, sizes), apply_to_folds(again, folds, sizes)
    assert len(one.scores) and np.array_equal(one.boxes, other.boxes) and np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize(
    "merge",
    [
        {"knots_in": [0.0, 1.0], "knots_out": [0.0]},
        {"knots_in": [0.5, 0.2], "knots_out": [0.1, 0.2]},
        {"knots_in": [0.0, 1.0], "knots_out": [0.9, 0.1]},
        {"knots_in": [0.0, 2.0], "knots_out": [0.0, 1.0]},
        {"knots_in": [0.0, 1.0], "knots_out": [-0.5, 1.0]},
    ],
)
def test_a_map_that_turns_the_order_round_is_refused(merge):
    with pytest.raises(BadInput, match="m: merge is not an increasing map"):
        recipe_of({"members": [{"name": "m", "merge": merge}]}, "recipe.yaml")
