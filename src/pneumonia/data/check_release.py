"""Compare the labels derived from RSNA's annotations with Kaggle's own tables, where both are there."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pneumonia.data.competition import Competition
from pneumonia.data.tables import read_classes, read_labels
from pneumonia.system.errors import Fault

ROUNDING = 1.0  # pixels; Kaggle's tables have whole pixels


@dataclass(frozen=True)
class Comparison:
    """Counts of images, and the largest difference of a box in pixels.

    images: in both. only_here, only_on_kaggle: in one of the two. classes, boxes: with another class, with another
    number of boxes.
    """

    images: int
    only_here: int
    only_on_kaggle: int
    classes: int
    boxes: int
    largest_difference: float

    def as_json(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.images} images are in Kaggle's tables too: {self.classes} of them have another class there, "
            f"{self.boxes} another number of boxes; the others' boxes differ by at most {self.largest_difference:.3g} "
            f"pixels; {self.only_here} images are only in RSNA's annotations, {self.only_on_kaggle} only on Kaggle"
        )


def compare_with_kaggle(competition: Competition) -> tuple[Comparison | None, list[Fault]]:
    """The comparison with Kaggle's tables beside the release, and warnings of what differs; None, [] without them."""
    tables = competition.release
    if tables.kaggle_labels is None:
        return None, []
    ours, theirs = (boxes_of(path, competition.has_uuids) for path in (competition.labels, tables.kaggle_labels))
    both = sorted(ours.keys() & theirs.keys())
    other_boxes = [name for name in both if len(ours[name]) != len(theirs[name])]
    differences = {name: largest_difference(ours[name], theirs[name]) for name in set(both).difference(other_boxes)}
    other_classes = []
    if tables.kaggle_classes is not None:
        our_class, their_class = (
            classes_of(path, competition.has_uuids) for path in (competition.classes, tables.kaggle_classes)
        )
        other_classes = [name for name in both if our_class[name] != their_class.get(name, our_class[name])]
    only_here, only_there = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    differing = {
        "have another class in RSNA's annotations": other_classes,
        "have another number of boxes in RSNA's annotations": other_boxes,
        f"have a box that is more than {ROUNDING:g} pixel elsewhere in RSNA's annotations": sorted(
            name for name, difference in differences.items() if difference > ROUNDING
        ),
        "of RSNA's annotations are not in it": only_here,
        "are not in RSNA's annotations": only_there,
    }
    warnings = [
        Fault(
            "kaggle-differs",
            str(tables.kaggle_labels),
            None,
            f"{len(names)} images {what}, the first is {names[0]}",
            "nothing to do: RSNA's annotations are used",
        )
        for what, names in differing.items()
        if names
    ]
    largest = max(differences.values(), default=0.0)
    counts = map(len, (both, only_here, only_there, other_classes, other_boxes))
    return Comparison(*counts, largest), warnings


def boxes_of(path: Path, uuids: bool) -> dict[str, np.ndarray]:
    """{image: (n, 4) boxes} of a label table's valid rows."""
    rows = read_labels(path, [], uuids)
    boxes: dict[str, list] = defaultdict(list)
    for name, box in zip(rows.ids, rows.boxes):
        boxes[name] += [box] if box is not None else []
    return {name: np.array(own, dtype=np.float64).reshape(-1, 4) for name, own in boxes.items()}


def classes_of(path: Path, uuids: bool) -> dict[str, str]:
    rows = read_classes(path, [], uuids)
    return dict(zip(rows.ids, rows.classes))


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of a side, in pixels, between the boxes that fit each other best. Both are (n, 4)."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and only for RSNA's own release

    difference = np.abs(ours[:, None] - theirs[None]).max(axis=2, initial=0.0)
    return float(difference[linear_sum_assignment(difference)].max(initial=0.0))
