"""A recipe: everything between the members' prediction tables and the submission, readable and complete.

The same code path makes the submission when a recipe is fitted and when it is applied later: bit for bit the same.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.boxes.fusion import Fusion, fuse, suppress
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.ensemble.calibrate import KINDS, Calibration
from pneumonia.ensemble.gate import gated, image_probability, weighted_mean
from pneumonia.ensemble.score_map import ScoreMap
from pneumonia.schema import from_tree
from pneumonia.schema.setting import group, setting
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.files import atomic_write

# The submission's numbers are rounded before the threshold, so that the file says it all; corners to a quarter of a
# pixel, which binary numbers hold exactly: x + width cannot come out a hair beyond the frame.
STEPS_PER_PIXEL, CONFIDENCE_DECIMALS = 4, 6
MAX_BOXES = 12  # of an image, after fusing: no image of the competition has more than four; 25 members leave 200


@dataclass
class Member:
    """One prediction table's part: its name, its weight in the fusion (or gate), its calibration.

    merge, merge_not_normal: where the table is several folds' (ensemble/merge.py), the maps that come before all else,
    of confidences (or probabilities of opacity), and of a classifier's not-normal probabilities.
    """

    name: str = ""
    weight: float = setting(1.0, "in the fusion, or in the gate", low=0)
    calibration: Calibration = group(Calibration, "what makes its confidences comparable")
    merge: ScoreMap = group(ScoreMap, "several folds' confidences (or opacity) as one fold's, before all else")
    merge_not_normal: ScoreMap = group(ScoreMap, "the same of a classifier's not-normal probabilities")


@dataclass
class Gate:
    """Confidence times (image probability ** exponent). An exponent of 1, where fitting begins, asks for a fitted one.

    agreement: the same with the members themselves as judges, the image's probability being the mean over the members
    of their best box's confidence.
    """

    exponent: float = setting(1.0, "of the image's probability; 0: no gate", low=0)
    cutoff: float = setting(0.0, "no box where the image's probability is lower", low=0, high=1)
    not_normal: float = setting(0.0, "share of the not-normal probability that counts as opacity", low=0, high=1)
    agreement: float = setting(0.0, "exponent of the members' own agreement; 0: none", low=0)


@dataclass
class Recipe:
    """In the order in which the steps are taken."""

    members: list[Member] = setting([], "detection tables, in this order")
    classifiers: list[Member] = setting([], "class probability tables, likewise")
    calibration: str = setting("logistic", "how both are made comparable when a recipe is fitted", choices=KINDS)
    fusion: Fusion = group(Fusion, "of the members' boxes")
    gate: Gate = group(Gate, "what the classifiers say of the image")
    shrink_width: float = setting(1.0, "factor about the box's centre", above=0)
    shrink_height: float = setting(1.0, "factor about the box's centre", above=0)
    min_ratio_to_top: float = setting(0.0, "boxes below this share of their image's best go", low=0, high=1)
    second_box_factor: float = setting(
        1.0, "a second or further box needs a confidence of this times the threshold", above=0
    )
    threshold: float = setting(0.1, "lowest confidence after all this", low=0)
    frame: list[float] = setting([1024.0, 1024.0], "width and height of the images; boxes are cut to it", above=0)


def apply(recipe: Recipe, members: Sequence[Detections], classifiers: Sequence[ClassProbabilities] = ()) -> Detections:
    """The submission: what the recipe makes of the members' tables, in the recipe's order of members.

    Raises:
        ValueError: not as many tables as the recipe has members, or tables of other images than the first's.
    """
    if (len(members), len(classifiers)) != (len(recipe.members), len(recipe.classifiers)):
        raise ValueError("the recipe has other members")
    found = candidates(recipe, members, classifiers)
    return found.keep(found.scores >= recipe.threshold)


def apply_to_sizes(
    recipe: Recipe, members: Sequence[Detections], classifiers: Sequence[ClassProbabilities], sizes: np.ndarray
) -> Detections:
    """`apply` on images of any sizes, none of which the recipe need have seen: no step depends on the size of a pixel,
    so the boxes are taken to the recipe's frame and back.

    Args:
        sizes: (images, 2) rows, columns, in whose pixels the boxes are.
    """
    to_frame = np.array(recipe.frame) / sizes[:, ::-1]
    return apply(recipe, [table.scaled(to_frame) for table in members], classifiers).scaled(1 / to_frame)


def candidates(
    recipe: Recipe, members: Sequence[Detections], classifiers: Sequence[ClassProbabilities] = ()
) -> Detections:
    """Everything but the threshold: boxes with the confidences that it is compared with, best first in each image."""
    return finished(recipe, fused(recipe, calibrated(recipe, suppressed(recipe, members))), classifiers)


def calibrated(recipe: Recipe, members: Sequence[Detections]) -> list[Detections]:
    """Each member with comparable confidences."""
    return [table.with_scores(member.calibration(table.scores)) for member, table in zip(recipe.members, members)]


def suppressed(recipe: Recipe, members: Sequence[Detections]) -> list[Detections]:
    """Each member without its duplicates."""
    return [suppress(table, recipe.fusion.nms_iou) for table in members]


def fused(recipe: Recipe, tables: Sequence[Detections]) -> Detections:
    """The calibrated tables as one, boxes weighed against what the members as a whole say of the image."""
    weights = [member.weight for member in recipe.members]
    votes = min(recipe.fusion.votes, sum(weight > 0 for weight in weights))
    found = fuse(tables, dataclasses.replace(recipe.fusion, votes=votes), weights, MAX_BOXES)
    if recipe.gate.agreement > 0:
        agreement = weighted_mean([best_of_image(table) for table in tables], weights)
        found = gated(found, agreement, recipe.gate.agreement, 0.0)
    return found


def best_of_image(table: Detections) -> np.ndarray:
    """(images,) highest confidence of each image; 0 without a box."""
    best = np.zeros(len(table))
    np.maximum.at(best, table.image_of_box, table.scores)
    return best


def probabilities(recipe: Recipe, classifiers: Sequence[ClassProbabilities]) -> np.ndarray:
    """(images,) probability of opacity by the calibrated classifiers."""
    parts = recipe.classifiers
    calibrations, weights = [part.calibration for part in parts], [part.weight for part in parts]
    return image_probability(classifiers, calibrations, weights, recipe.gate.not_normal)


def finished(recipe: Recipe, found: Detections, classifiers: Sequence[ClassProbabilities] = ()) -> Detections:
    """Gate, shrink, share of the top box, second-box threshold, rounding; on the fused boxes."""
    if classifiers:
        found = gated(found, probabilities(recipe, classifiers), recipe.gate.exponent, recipe.gate.cutoff)
    boxes = geometry.shrink(found.boxes, recipe.shrink_width, recipe.shrink_height)
    corners = geometry.to_corners(geometry.clip(boxes, *recipe.frame))
    found = found.with_boxes(geometry.to_xywh(np.round(corners * STEPS_PER_PIXEL) / STEPS_PER_PIXEL))
    found = found.keep((found.boxes[:, 2:] > 0).all(axis=1))
    image, first = found.image_of_box, found.offsets[:-1]
    place = np.arange(len(found.scores)) - first[image]
    top = found.scores[np.minimum(first[image], max(len(found.scores) - 1, 0))]
    scores = np.where(place > 0, np.minimum(found.scores / recipe.second_box_factor, top), found.scores)
    scores = np.round(np.minimum(scores, 1.0), CONFIDENCE_DECIMALS)
    return (
        found.with_scores(scores).keep((place == 0) | (found.scores >= recipe.min_ratio_to_top * top)).by_confidence()
    )


# ------------------------------------------------------------------ recipe.yaml


def write_recipe(path: str | Path, recipe: Recipe, head: str = "") -> None:
    """head: lines of comment at the top of the file."""
    import yaml

    tree = dataclasses.asdict(recipe)
    if not recipe.fusion.method.startswith("soft_nms"):
        del tree["fusion"]["sigma"], tree["fusion"]["floor"]
    for member in tree["members"] + tree["classifiers"]:
        for name in ("merge", "merge_not_normal"):
            if not member[name]["knots_in"]:
                del member[name]
        calibration = member["calibration"]
        unused = {"none": ("slope", "intercept", "knots_in", "knots_out"), "logistic": ("knots_in", "knots_out")}
        for name in unused.get(calibration["kind"], ("slope", "intercept")):
            del calibration[name]
    with atomic_write(path) as file:
        file.writelines(f"# {line}\n" for line in head.splitlines())
        yaml.safe_dump(tree, file, sort_keys=False, allow_unicode=True, width=120)


def read_recipe(path: str | Path) -> Recipe:
    """Raises BadInput: no such file, no YAML, an unknown key, a value of the wrong type or out of its range."""
    import yaml

    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise bad_input(path, "cannot be read", "give the recipe.yaml of an ensemble") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise bad_input(path, "is no valid YAML", "correct the line", row=mark.line + 1 if mark else None) from error
    return recipe_of(tree or {}, str(path))


def recipe_of(tree: object, file: str) -> Recipe:
    """A recipe from nested dictionaries; what they leave out keeps its default. Raises BadInput."""
    recipe = from_tree(Recipe, tree, file)
    faults = [Fault("recipe", file, None, what, fix) for what, fix in contradictions(recipe)]
    if faults:
        raise BadInput(faults)
    return recipe


def contradictions(recipe: Recipe) -> list[tuple[str, str]]:
    """What the ranges cannot say: (what, fix)."""
    checks = [(len(recipe.frame) == 2, "frame is no size", "write [width, height] in pixels")]
    for part in recipe.members + recipe.classifiers:
        knots = part.calibration.knots_in, part.calibration.knots_out
        fits = len(knots[0]) == len(knots[1]) and (part.calibration.kind != "rank" or bool(knots[0]))
        checks.append((fits, f"{part.name}: knots_in and knots_out do not fit", "one number each per knot"))
        for name, each in (("merge", part.merge), ("merge_not_normal", part.merge_not_normal)):
            what = f"{part.name}: {name} is no increasing map of 0..1"
            checks.append((each.is_monotone, what, "one knots_out per knots_in, ascending"))
    for parts, name in ((recipe.members, "members"), (recipe.classifiers, "classifiers")):
        if parts:
            checks.append((sum(part.weight for part in parts) > 0, f"all {name} have weight 0", "give one a weight"))
    return [(what, fix) for good, what, fix in checks if not good]
