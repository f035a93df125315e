"""A recipe: every step from the members' prediction tables to the submission, as readable settings.

The same code makes the submission when a recipe is fitted and when it is applied later, with the same bits where all
images have the recipe's frame as their size; others are scaled to it and back (`apply_to_sizes`).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.boxes.fusion import Fusion, fuse, suppress
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.boxes.same_model import weighted_mean
from pneumonia.ensemble.calibrate import KINDS, Calibration
from pneumonia.ensemble.gate import apply_gate, image_probability
from pneumonia.ensemble.score_map import ScoreMap
from pneumonia.schema import from_tree
from pneumonia.schema.setting import group, setting
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.files import atomic_write

# The submission's numbers are rounded before the threshold is applied, so that the file has them exactly; corners to a
# quarter of a pixel, which is exact in binary: x + width is never slightly outside the frame.
STEPS_PER_PIXEL, CONFIDENCE_DECIMALS = 4, 6
MAX_BOXES = 12  # per image after fusion; no image of the competition has more than four, 25 members would leave 200


@dataclass
class Member:
    """The settings of one prediction table: its name, its weight in the fusion (or gate), its calibration.

    image: of a detection table, whose images have a probability of an opacity by their highest confidence; a
    classifier's `calibration` gives its own.
    merge, merge_not_normal: for a table merged from several folds (ensemble/merge.py), the maps that are applied first:
    of confidences (or probabilities of opacity), and of a classifier's not-normal probabilities.
    """

    name: str = ""
    weight: float = setting(1.0, "in the fusion, or in the gate", low=0)
    calibration: Calibration = group(Calibration, "makes its confidences comparable")
    image: Calibration = group(Calibration, "maps an image's highest confidence to its probability of an opacity")
    merge: ScoreMap = group(ScoreMap, "maps merged folds' confidences (or opacity) to one fold's; applied first")
    merge_not_normal: ScoreMap = group(ScoreMap, "the same of a classifier's not-normal probabilities")


@dataclass
class Gate:
    """Multiplies confidences by (image probability ** exponent). If fitting starts at an exponent of 1, it is fitted.

    agreement: exponent of a second gate, whose image probability is the members' own: the mean over the members of
    their best box's confidence.
    """

    exponent: float = setting(1.0, "of the image's probability; 0: no gate", low=0)
    cutoff: float = setting(0.0, "images of lower probability get no box", low=0, high=1)
    not_normal: float = setting(0.0, "share of the not-normal probability that counts as opacity", low=0, high=1)
    agreement: float = setting(0.0, "exponent of the members' own agreement; 0: no gate", low=0)


@dataclass
class Recipe:
    """All settings, in the order in which the steps are applied."""

    members: list[Member] = setting([], "detection tables, in this order")
    classifiers: list[Member] = setting([], "class probability tables, likewise")
    calibration: str = setting("logistic", "kind that is fitted to both", choices=KINDS)
    fusion: Fusion = group(Fusion, "of the members' boxes")
    gate: Gate = group(Gate, "scales confidences by the classifiers' probabilities of the image")
    shrink_width: float = setting(1.0, "factor about the box's centre", above=0)
    shrink_height: float = setting(1.0, "factor about the box's centre", above=0)
    min_ratio_to_top: float = setting(
        0.0, "boxes below this share of their image's highest confidence are dropped", low=0, high=1
    )
    second_box_factor: float = setting(
        1.0, "a second or further box needs a confidence of this times the threshold", above=0
    )
    threshold: float = setting(0.1, "lowest confidence of a submitted box", low=0)
    frame: list[float] = setting([1024.0, 1024.0], "width and height of the images; boxes are cut to it", above=0)


def apply(recipe: Recipe, members: Sequence[Detections], classifiers: Sequence[ClassProbabilities] = ()) -> Detections:
    """Apply the recipe to the members' tables, given in the recipe's order; returns the submission.

    Raises:
        ValueError: the number of tables is not the recipe's, or tables have other images than the first.
    """
    if (len(members), len(classifiers)) != (len(recipe.members), len(recipe.classifiers)):
        raise ValueError("the recipe has other members")
    tables = calibrate_members(recipe, suppress_members(recipe, members))
    boxes = post_process(recipe, fuse_members(recipe, tables), classifiers)
    return boxes.keep(boxes.scores >= recipe.threshold)


def apply_to_sizes(
    recipe: Recipe, members: Sequence[Detections], classifiers: Sequence[ClassProbabilities], sizes: np.ndarray
) -> Detections:
    """Apply the recipe to images of any size: the boxes are scaled to the recipe's frame and back.

    Args:
        sizes: (images, 2) rows, columns of the images; boxes are in their pixels.
    """
    to_frame = np.array(recipe.frame) / sizes[:, ::-1]
    return apply(recipe, [table.scaled(to_frame) for table in members], classifiers).scaled(1 / to_frame)


def calibrate_members(recipe: Recipe, members: Sequence[Detections]) -> list[Detections]:
    """Apply each member's calibration to its confidences."""
    return [table.with_scores(member.calibration(table.scores)) for member, table in zip(recipe.members, members)]


def suppress_members(recipe: Recipe, members: Sequence[Detections]) -> list[Detections]:
    """Suppress each member's duplicate boxes."""
    return [suppress(table, recipe.fusion.nms_iou) for table in members]


def fuse_members(recipe: Recipe, tables: Sequence[Detections]) -> Detections:
    """Fuse the calibrated tables into one and apply the gate of the members' agreement."""
    weights = [member.weight for member in recipe.members]
    votes = min(recipe.fusion.votes, sum(weight > 0 for weight in weights))
    boxes = fuse(tables, dataclasses.replace(recipe.fusion, votes=votes), weights, MAX_BOXES)
    if recipe.gate.agreement > 0:
        agreement = weighted_mean([best_of_image(table) for table in tables], weights)
        boxes = apply_gate(boxes, agreement, recipe.gate.agreement, 0.0)
    return boxes


def best_of_image(table: Detections) -> np.ndarray:
    """Return the (images,) highest confidence of each image, 0 without a box."""
    best = np.zeros(len(table))
    np.maximum.at(best, table.image_of_box, table.scores)
    return best


def image_probabilities(
    recipe: Recipe, members: Sequence[Detections], classifiers: Sequence[ClassProbabilities] = ()
) -> np.ndarray:
    """Return the (images,) probability of an opacity: the mean over all tables, given in the recipe's order.

    A detection table's is that of its most confident box, calibrated. Every table counts alike, but one of weight 0,
    which the recipe leaves out. The threshold and the gate have no part in it.
    """
    columns = [member.image(best_of_image(table)) for member, table in zip(recipe.members, members)]
    columns += [member.calibration(table.opacity) for member, table in zip(recipe.classifiers, classifiers)]
    return weighted_mean(columns, [float(member.weight > 0) for member in [*recipe.members, *recipe.classifiers]])


def gate_probabilities(recipe: Recipe, classifiers: Sequence[ClassProbabilities]) -> np.ndarray:
    """Return the (images,) probability of opacity by the calibrated classifiers."""
    calibrations = [member.calibration for member in recipe.classifiers]
    weights = [member.weight for member in recipe.classifiers]
    return image_probability(classifiers, calibrations, weights, recipe.gate.not_normal)


def post_process(recipe: Recipe, table: Detections, classifiers: Sequence[ClassProbabilities] = ()) -> Detections:
    """Apply all steps between fusion and threshold to the fused boxes; the result is best first in each image.

    The steps: the classifiers' gate, shrinking, rounding, the second-box factor and the minimum ratio to the top box.
    """
    if classifiers:
        table = apply_gate(table, gate_probabilities(recipe, classifiers), recipe.gate.exponent, recipe.gate.cutoff)
    boxes = geometry.shrink(table.boxes, recipe.shrink_width, recipe.shrink_height)
    corners = geometry.to_corners(geometry.clip(boxes, *recipe.frame))
    table = table.with_boxes(geometry.to_xywh(np.round(corners * STEPS_PER_PIXEL) / STEPS_PER_PIXEL))
    table = table.keep((table.boxes[:, 2:] > 0).all(axis=1))
    image, first = table.image_of_box, table.offsets[:-1]
    rank = np.arange(len(table.scores)) - first[image]
    top = table.scores[np.minimum(first[image], max(len(table.scores) - 1, 0))]
    scores = np.where(rank > 0, np.minimum(table.scores / recipe.second_box_factor, top), table.scores)
    scores = np.round(np.minimum(scores, 1.0), CONFIDENCE_DECIMALS)
    is_kept = (rank == 0) | (table.scores >= recipe.min_ratio_to_top * top)
    return table.with_scores(scores).keep(is_kept).by_confidence()


# ------------------------------------------------------------------ recipe.yaml


def write_recipe(path: str | Path, recipe: Recipe, head: str = "") -> None:
    """Write recipe.yaml. head: comment lines at the top of the file."""
    import yaml

    tree = dataclasses.asdict(recipe)
    if not recipe.fusion.method.startswith("soft_nms"):
        del tree["fusion"]["sigma"], tree["fusion"]["floor"]
    for member in tree["members"] + tree["classifiers"]:
        for name in ("merge", "merge_not_normal"):
            if not member[name]["knots_in"]:
                del member[name]
        unused = {"none": ("slope", "intercept", "knots_in", "knots_out"), "logistic": ("knots_in", "knots_out")}
        for calibration in (member["calibration"], member["image"]):
            for name in unused.get(calibration["kind"], ("slope", "intercept")):
                del calibration[name]
        if member["image"]["kind"] == "none":
            del member["image"]
    with atomic_write(path) as file:
        file.writelines(f"# {line}\n" for line in head.splitlines())
        yaml.safe_dump(tree, file, sort_keys=False, allow_unicode=True, width=120)


def read_recipe(path: str | Path) -> Recipe:
    """Read recipe.yaml.

    Raises:
        BadInput: no such file, invalid YAML, an unknown key, a value of the wrong type or out of its range.
    """
    import yaml

    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise bad_input(path, "cannot be read", "give the recipe.yaml of an ensemble") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise bad_input(path, "is not valid YAML", "correct the line", row=mark.line + 1 if mark else None) from error
    return recipe_of(tree or {}, str(path))


def recipe_of(tree: object, file: str) -> Recipe:
    """Build a recipe from nested dictionaries; missing settings have their defaults. Raises BadInput."""
    recipe = from_tree(Recipe, tree, file)
    faults = [Fault("recipe", file, None, what, fix) for what, fix in contradictions(recipe)]
    if faults:
        raise BadInput(faults)
    return recipe


def contradictions(recipe: Recipe) -> list[tuple[str, str]]:
    """Check what the ranges of single settings cannot express; returns (what, fix) of each fault."""
    checks = [(len(recipe.frame) == 2, "frame is not a size", "write [width, height] in pixels")]
    for member in recipe.members + recipe.classifiers:
        knots = member.calibration.knots_in, member.calibration.knots_out
        is_valid = len(knots[0]) == len(knots[1]) and (member.calibration.kind != "rank" or bool(knots[0]))
        what = f"{member.name}: knots_in and knots_out do not have the same number of knots"
        checks.append((is_valid, what, "write one number of each per knot"))
        for name, score_map in (("merge", member.merge), ("merge_not_normal", member.merge_not_normal)):
            what = f"{member.name}: {name} is not an increasing map of 0..1"
            checks.append((score_map.is_monotone, what, "write one knots_out per knots_in, both ascending"))
    for name, members in (("members", recipe.members), ("classifiers", recipe.classifiers)):
        if members:
            weight_sum = sum(member.weight for member in members)
            checks.append((weight_sum > 0, f"all {name} have weight 0", "give one a weight above 0"))
    return [(what, fix) for is_valid, what, fix in checks if not is_valid]
