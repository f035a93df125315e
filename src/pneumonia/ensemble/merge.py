"""Merge each member's folds into one table, with confidences on the scale that the recipe was fitted to.

Recipes are fitted on out-of-fold predictions, each made by one model; new images are predicted by the models of all
folds. The mean of their confidences is lower and less spread than one model's, the maximum is higher: thresholds and
calibrations would no longer fit. So each member has a map from merged to single-fold confidence. It is fitted once, on
images that every fold predicts and whose labels none has seen: the test images, on which pseudo-labels train every fold
alike. It is saved in the recipe, and applied image by image.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np

from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.boxes.same_model import average_classes, merge_same_model, weighted_mean
from pneumonia.ensemble.recipe import Member, Recipe, apply_to_sizes
from pneumonia.ensemble.score_map import ScoreMap, fit_score_map

Folds = Mapping[str, Sequence[Detections] | Sequence[ClassProbabilities]]  # {member: one table per fold}


def fit_merge_maps(recipe: Recipe, folds: Folds) -> Recipe:
    """Return the recipe with every member's map from merged to single-fold confidence; unchanged for a single fold.

    Args:
        folds: predictions of images that no fold was trained on.
    """
    recipe = copy.deepcopy(recipe)
    for member in recipe.members:
        tables = folds[member.name]
        if len(tables) > 1:
            single = np.concatenate([merge_same_model([table]).scores for table in tables])
            member.merge = fit_score_map(merge_same_model(tables).scores, single, len(tables))
    for member in recipe.classifiers:
        tables = folds[member.name]
        if len(tables) > 1:
            member.merge = fit_class_map([table.opacity for table in tables])
            if tables[0].not_normal is not None:
                member.merge_not_normal = fit_class_map([table.not_normal for table in tables])
    return recipe


def apply_to_folds(recipe: Recipe, folds: Folds, sizes: np.ndarray) -> Detections:
    """Apply the recipe to images that every fold of every member predicted.

    Args:
        sizes: (images, 2) rows, columns of the images.
    """
    return apply_to_sizes(recipe, *merge_folds(recipe, folds), sizes)


def merge_folds(recipe: Recipe, folds: Folds) -> tuple[list[Detections], list[ClassProbabilities]]:
    """Return one table per member and per classifier, in the recipe's order."""
    members = [merge_detections(member, folds[member.name]) for member in recipe.members]
    return members, [merge_classes(member, folds[member.name]) for member in recipe.classifiers]


def merge_detections(member: Member, tables: Sequence[Detections]) -> Detections:
    """Fuse the boxes of the folds, 0 from a fold that missed one, and map confidences to a single fold's scale.

    Raises:
        ValueError: the tables cover different images.
    """
    if len(tables) == 1:
        return tables[0]
    merged = merge_same_model(tables)
    return merged.with_scores(member.merge(merged.scores))


def merge_classes(member: Member, tables: Sequence[ClassProbabilities]) -> ClassProbabilities:
    """Average the probabilities and map them to a single fold's scale; normal is 1 - opacity - not_normal, at least 0.

    Raises:
        ValueError: the tables cover different images.
    """
    if len(tables) == 1:
        return tables[0]
    mean = average_classes(tables)
    opacity = member.merge(mean.opacity)
    if mean.not_normal is None:
        return ClassProbabilities(mean.ids, opacity)
    not_normal = member.merge_not_normal(mean.not_normal)
    return ClassProbabilities(mean.ids, opacity, np.maximum(1.0 - opacity - not_normal, 0.0), not_normal)


def fit_class_map(columns: Sequence[np.ndarray]) -> ScoreMap:
    return fit_score_map(weighted_mean(columns), np.concatenate(columns), len(columns))
