"""Read an export of MD.ai, the tool with which radiologists annotated the challenge's images.

RSNA publishes two: ...annotations-adjudicated-kaggle_2018.json, whose label group "Calculated" is the competition's
consensus, and ...annotations-original_2018.json, of single readers. An export has

    labelGroups: [{id, name, labels: [{id, name}]}]
    datasets: [{annotations: [{id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, labelId, createdById, data}]}]

`data` is {x, y, width, height} in pixels of the image for a box, else null. An annotation of a whole study has no
SOPInstanceUID. Label names may end in spaces.
"""

import math
import numbers
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pneumonia.data.json_file import parse_json
from pneumonia.data.labels import CLASSES
from pneumonia.system.csv_rows import first_faults, printable
from pneumonia.system.errors import BadInput, Fault, bad_input

CONSENSUS = "Calculated"  # the label group of the adjudicated labels
ADJUDICATED = "pneumonia-challenge-annotations-adjudicated-kaggle_2018.json"
FIX = f"take {ADJUDICATED} from RSNA's page"
CLASS_OF = {display.lower(): name for name, display in CLASSES.display.items()}

Box = tuple[float, float, float, float]  # x, y, width, height in pixels


class Annotation(NamedTuple):
    """One annotation; sop is "" where it is of a whole study, reader "" where it names none."""

    name: str
    study: str
    sop: str
    label: str
    reader: str
    data: object


@dataclass(frozen=True)
class Export:
    """labels: {label id: (group, label)}, names without the spaces around them. annotations: of all data sets."""

    path: Path
    labels: dict[str, tuple[str, str]]
    annotations: list[Annotation]


def read_export(path: Path) -> Export:
    """Read an export. Of 50 MB, three quarters are studies and fields that no one needs: they are not kept.

    Raises:
        BadInput: the file cannot be read, or is not an export of MD.ai.
    """
    project = parse_json(path, FIX, to_annotation)
    groups = project.get("labelGroups") if isinstance(project, dict) else None
    datasets = project.get("datasets") if isinstance(project, dict) else None
    if not isinstance(groups, list) or not isinstance(datasets, list):
        raise bad_input(path, "has no labelGroups and datasets: it is not an export of MD.ai", FIX)
    try:
        labels = {
            label["id"]: (group["name"].strip(), label["name"].strip()) for group in groups for label in group["labels"]
        }
        annotations = [each for dataset in datasets for each in dataset["annotations"]]
    except (KeyError, TypeError, AttributeError) as error:
        what = f"its labelGroups or datasets lack {error}"
        raise bad_input(path, what, FIX) from error
    faults = [
        Fault("annotation", str(path), None, f"annotation {number} has no labelId or unknown fields", FIX)
        for number, each in enumerate(annotations, 1)
        if not isinstance(each, Annotation)
    ]
    if faults:
        raise BadInput(first_faults(faults, path))
    return Export(path, labels, annotations)


def to_annotation(item: dict) -> object:
    """An annotation as a tuple; the list of studies is dropped; other objects stay."""
    if "labelId" in item:
        texts = (str(item.get(key) or "") for key in ("id", "StudyInstanceUID", "SOPInstanceUID", "labelId"))
        return Annotation(*texts, str(item.get("createdById") or ""), item.get("data"))
    if "annotations" in item:
        return {"annotations": item["annotations"]}
    return None if item.keys() >= {"StudyInstanceUID", "number"} else item


@dataclass
class Consensus:
    """The consensus of each image, by its SOPInstanceUID.

    classes: {image: normal, not_normal or opacity}. boxes: {image: its boxes, none without an opacity}.
    unlabelled: {image: names of its labels}, images that have labels of other groups only, such as Exclude.
    """

    classes: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    unlabelled: dict[str, set[str]] = field(default_factory=dict)


def consensus_of(export: Export, image_of_study: Mapping[str, str]) -> Consensus:
    """Collect the consensus.

    Args:
        image_of_study: {StudyInstanceUID: SOPInstanceUID}, of annotations of a whole study.

    Raises:
        BadInput: there is no consensus group, an opacity without its box, an image of two classes; every fault.
    """
    if CONSENSUS not in {group for group, _ in export.labels.values()}:
        raise bad_input(export.path, f"has no label group '{CONSENSUS}', the competition's consensus", FIX)
    consensus, faults = Consensus(), []
    others: dict[str, set[str]] = defaultdict(set)
    images = {each.study: each.sop for each in export.annotations if each.sop} | dict(image_of_study)
    for each in export.annotations:
        image = each.sop or images.get(each.study, "")
        group, label = export.labels.get(each.label, ("", ""))
        if group != CONSENSUS:
            others[image].add(label)
            continue
        kind = CLASS_OF.get(label.lower())
        first = consensus.classes.setdefault(image, kind) if image and kind else None
        box = box_of(each.data)
        what = None
        if not kind:
            what = f"has the label {printable(label)}, which is none of the competition's classes"
        elif not image:
            what = f"names no image, and its study {printable(each.study)} is not known"
        elif first != kind:
            what = f"is {CLASSES.display[kind]} of {image}, which is {CLASSES.display[first]} too"
        elif kind == CLASSES.positive and box is None:
            what = f"is an opacity of {image} without a box: x, y and a positive width and height in pixels"
        if what:
            faults.append(Fault("annotation", str(export.path), None, f"annotation {each.name} {what}", FIX))
            continue
        boxes = consensus.boxes.setdefault(image, [])
        if kind == CLASSES.positive and box not in boxes:
            boxes.append(box)
    if faults:
        raise BadInput(first_faults(faults, export.path))
    consensus.unlabelled = {
        image: labels for image, labels in others.items() if image and image not in consensus.classes
    }
    return consensus


def box_of(data: object) -> Box | None:
    """The box of an annotation; None where it has none, or not a valid one."""
    if not isinstance(data, dict):
        return None
    values = [data.get(key) for key in ("x", "y", "width", "height")]
    if not all(isinstance(value, numbers.Real) and math.isfinite(value) for value in values):
        return None
    x, y, width, height = map(float, values)
    return (x, y, width, height) if width > 0 and height > 0 else None
