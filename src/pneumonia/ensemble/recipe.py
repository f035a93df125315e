"""A recipe: everything between the members' prediction tables and the submission, readable and complete.

The same code path makes the submission when a recipe is fitted and when it is applied later: bit for bit the same.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.boxes.fusion import CONFIDENCES, METHODS, fuse
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.config import nearest
from pneumonia.ensemble.calibrate import KINDS, Calibration
from pneumonia.ensemble.gate import gated, image_probability
from pneumonia.ensemble.score_map import ScoreMap
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
    weight: float = 1.0
    calibration: Calibration = field(default_factory=Calibration)
    merge: ScoreMap = field(default_factory=ScoreMap)
    merge_not_normal: ScoreMap = field(default_factory=ScoreMap)


@dataclass
class Fusion:
    """nms_iou: IoU above which boxes of one and the same member are duplicates; 1 for none. The rest as in fuse()."""

    nms_iou: float = 0.5
    method: str = "wbf"
    iou: float = 0.4
    min_score: float = 0.01
    confidence: str = "members"
    votes: int = 1


@dataclass
class Gate:
    """Confidence times (image probability ** exponent); no box where the probability is below cutoff. not_normal: share
    of the not-normal probability that counts as opacity. agreement: the same with the members themselves as judges, the
    image's probability being the mean over the members of their best box's confidence.

    An exponent of 1, where fitting begins, asks for a fitted one."""

    exponent: float = 1.0
    cutoff: float = 0.0
    not_normal: float = 0.0
    agreement: float = 0.0


@dataclass
class Recipe:
    """In the order in which the steps are taken.

    calibration: how members and classifiers are made comparable when a recipe is fitted (none, logistic, rank).
    shrink_width, shrink_height: factors about the box's centre. min_ratio_to_top: boxes below this share of their
    image's best go. second_box_factor: a second or further box needs a confidence of second_box_factor * threshold.
    threshold: on the confidence after all this. frame: width and height of the images in pixels; boxes are cut to it.
    """

    members: list[Member] = field(default_factory=list)
    classifiers: list[Member] = field(default_factory=list)
    calibration: str = "logistic"
    fusion: Fusion = field(default_factory=Fusion)
    gate: Gate = field(default_factory=Gate)
    shrink_width: float = 1.0
    shrink_height: float = 1.0
    min_ratio_to_top: float = 0.0
    second_box_factor: float = 1.0
    threshold: float = 0.1
    frame: list[float] = field(default_factory=lambda: [1024.0, 1024.0])


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
    iou = recipe.fusion.nms_iou
    return [table if iou >= 1 else fuse([table], "nms", iou=iou) for table in members]


def fused(recipe: Recipe, tables: Sequence[Detections]) -> Detections:
    """The calibrated tables as one, boxes weighed against what the members as a whole say of the image."""
    fusion = recipe.fusion
    weights = [member.weight for member in recipe.members]
    found = fuse(
        tables,
        fusion.method,
        weights,
        iou=fusion.iou,
        lowest=fusion.min_score,
        confidence=fusion.confidence,
        votes=min(fusion.votes, sum(weight > 0 for weight in weights)),
        most=MAX_BOXES,
    )
    if recipe.gate.agreement > 0:
        best = np.array([best_of_image(table) for table in tables])
        found = gated(found, np.average(best, axis=0, weights=weights), recipe.gate.agreement, 0.0)
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


def recipe_of(tree: Mapping, file: str) -> Recipe:
    """A recipe from nested dictionaries; what they leave out keeps its default. Raises BadInput."""
    recipe = built(Recipe, tree, file, "")
    faults = [Fault("recipe", file, None, what, fix) for what, fix in recipe_faults(recipe)]
    if faults:
        raise BadInput(faults)
    return recipe


def built(kind: type, tree: object, file: str, prefix: str):
    """A dataclass from a dictionary, every key and type checked."""
    if not isinstance(tree, Mapping):
        raise bad_input(file, f"{prefix.rstrip('.') or 'the recipe'} is no mapping", "write its keys below it")
    fields = {each.name: each for each in dataclasses.fields(kind)}
    values = {}
    for name, value in tree.items():
        where = f"{prefix}{name}"
        if name not in fields:
            raise bad_input(file, f"unknown key '{where}'", nearest(str(name), list(fields)))
        wanted = fields[name].type
        if dataclasses.is_dataclass(wanted):
            values[name] = built(wanted, value, file, f"{where}.")
        elif wanted == list[Member]:
            if not isinstance(value, list):
                raise bad_input(file, f"{where} is no list", "write one '- name: ...' per member")
            values[name] = [built(Member, each, file, f"{where}[{place}].") for place, each in enumerate(value)]
        else:
            values[name] = scalar(wanted, value, file, where)
    return kind(**values)


def scalar(wanted: type, value: object, file: str, where: str):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is str and isinstance(value, str):
        return value
    if wanted is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if wanted is float and number and np.isfinite(value):
        return float(value)
    if wanted == list[float] and isinstance(value, list):
        return [scalar(float, each, file, where) for each in value]
    names = {str: "text", int: "a whole number", float: "a number", list[float]: "a list of numbers"}
    raise bad_input(file, f"{where} is {value!r}", f"write {names[wanted]}")


def recipe_faults(recipe: Recipe) -> list[tuple[str, str]]:
    """What is out of its range: (what, fix)."""
    checks = [
        (recipe.calibration in KINDS, f"calibration '{recipe.calibration}'", f"known: {', '.join(KINDS)}"),
        (recipe.fusion.method in METHODS, f"fusion.method '{recipe.fusion.method}'", f"known: {', '.join(METHODS)}"),
        (
            recipe.fusion.confidence in CONFIDENCES,
            f"fusion.confidence '{recipe.fusion.confidence}'",
            f"known: {', '.join(CONFIDENCES)}",
        ),
        (recipe.shrink_width > 0 and recipe.shrink_height > 0, "a shrink factor is not positive", "1 leaves the size"),
        (
            recipe.second_box_factor > 0,
            f"second_box_factor is {recipe.second_box_factor}",
            "above 0: how many times the threshold",
        ),
        (
            0 <= recipe.min_ratio_to_top <= 1,
            f"min_ratio_to_top is {recipe.min_ratio_to_top}",
            "write a number from 0 to 1",
        ),
        (len(recipe.frame) == 2 and min(recipe.frame) > 0, "frame is no size", "write [width, height] in pixels"),
    ]
    for part in recipe.members + recipe.classifiers:
        checks += [
            (
                each.is_monotone,
                f"{part.name}: {name} is no increasing map of 0..1",
                "one knots_out per knots_in, ascending",
            )
            for name, each in (("merge", part.merge), ("merge_not_normal", part.merge_not_normal))
        ]
        checks += [
            (part.weight >= 0, f"{part.name}: weight {part.weight}", "write 0 or more"),
            (part.calibration.kind in KINDS, f"{part.name}: calibration", f"known: {', '.join(KINDS)}"),
            (
                len(part.calibration.knots_in) == len(part.calibration.knots_out)
                and (part.calibration.kind != "rank" or bool(part.calibration.knots_in)),
                f"{part.name}: knots_in and knots_out do not fit",
                "one number each per knot",
            ),
        ]
    for parts, name in ((recipe.members, "members"), (recipe.classifiers, "classifiers")):
        if parts:
            checks.append((sum(part.weight for part in parts) > 0, f"all {name} have weight 0", "give one a weight"))
    return [(what, fix) for good, what, fix in checks if not good]
