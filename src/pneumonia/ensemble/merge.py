"""The folds of each member as one table each, with confidences as the recipe knows them.

Recipes are fitted on out-of-fold predictions, each made by one model; new images are predicted by the models of all
folds. Their mean is lower and less spread than one model's confidences, their maximum higher: thresholds and
calibrations would mean something else. So each member has a map from merged to single-fold confidence. It is fitted
once, on images that every fold predicts and none was trained on (the test images; no label is used), it stands in the
recipe, and it is applied image by image.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np

from pneumonia.boxes.fusion import merge_same_model
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.ensemble.gate import weighted_mean
from pneumonia.ensemble.recipe import Member, Recipe, apply_to_sizes
from pneumonia.ensemble.score_map import ScoreMap, fit_score_map

Folds = Mapping[str, Sequence[Detections] | Sequence[ClassProbabilities]]  # {member: one table per fold}


def with_merge_maps(recipe: Recipe, folds: Folds) -> Recipe:
    """The recipe with every member's map from merged to single-fold confidence; of a single fold nothing changes.

    Args:
        folds: predictions of images that no fold was trained on.
    """
    recipe = copy.deepcopy(recipe)
    for member in recipe.members:
        tables = folds[member.name]
        if len(tables) > 1:
            own = np.concatenate([merge_same_model([table]).scores for table in tables])
            member.merge = fit_score_map(merge_same_model(tables).scores, own, len(tables))
    for member in recipe.classifiers:
        tables = folds[member.name]
        if len(tables) > 1:
            member.merge = class_map([table.opacity for table in tables])
            if tables[0].not_normal is not None:
                member.merge_not_normal = class_map([table.not_normal for table in tables])
    return recipe


def apply_to_folds(recipe: Recipe, folds: Folds, sizes: np.ndarray) -> Detections:
    """The recipe on images that every fold of every member predicted.

    Args:
        sizes: (images, 2) rows, columns of the images.
    """
    members = [merged_detections(member, folds[member.name]) for member in recipe.members]
    classifiers = [merged_classes(member, folds[member.name]) for member in recipe.classifiers]
    return apply_to_sizes(recipe, members, classifiers, sizes)


def merged_detections(member: Member, tables: Sequence[Detections]) -> Detections:
    """Boxes by weighted fusion, a fold that missed one counting as 0, with the confidences of a single fold.

    Raises:
        ValueError: the tables cover different images.
    """
    if len(tables) == 1:
        return tables[0]
    merged = merge_same_model(tables)
    return merged.with_scores(member.merge(merged.scores))


def merged_classes(member: Member, tables: Sequence[ClassProbabilities]) -> ClassProbabilities:
    """Mean probabilities, with the spread of a single fold's; normal is what the other two leave.

    Raises:
        ValueError: the tables cover different images.
    """
    if any(table.ids != tables[0].ids for table in tables[1:]):
        raise ValueError("the tables must cover the same images in the same order")
    if len(tables) == 1:
        return tables[0]
    opacity = member.merge(weighted_mean([table.opacity for table in tables]))
    if tables[0].not_normal is None:
        return ClassProbabilities(tables[0].ids, opacity)
    not_normal = member.merge_not_normal(weighted_mean([table.not_normal for table in tables]))
    return ClassProbabilities(tables[0].ids, opacity, np.maximum(1.0 - opacity - not_normal, 0.0), not_normal)


def class_map(columns: Sequence[np.ndarray]) -> ScoreMap:
    return fit_score_map(weighted_mean(columns), np.concatenate(columns), len(columns))
