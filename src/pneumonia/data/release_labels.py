"""The labels in RSNA's annotations, under Kaggle's ids; and which of the images are the competition's test set."""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from pneumonia.boxes.image_ids import read_ids, spelling_difference
from pneumonia.data.formats.base import write_labels
from pneumonia.data.image_kinds import name_without_suffix
from pneumonia.data.mapping_json import read_mapping
from pneumonia.data.mdai import Box, consensus_of, read_export
from pneumonia.data.people import is_json_file
from pneumonia.data.release_files import NAMES
from pneumonia.system.errors import BadInput, Fault, bad_input

WHERE = "Kaggle's stage_2_sample_submission.csv, or any list of the 3,000 ids"


@dataclass(frozen=True)
class ReleaseLabels:
    """The consensus by image id: Kaggle's patientId where the mapping names it, else the SOPInstanceUID.

    classes: {id: normal, not_normal or opacity}. boxes: {id: boxes x, y, width, height in pixels}, both sorted by id.
    unlabelled: {id: labels}, without a consensus. ids: {SOPInstanceUID: id} of the mapping.
    """

    annotations: Path
    mapping: Path | None
    classes: dict[str, str]
    boxes: dict[str, list[Box]]
    unlabelled: dict[str, set[str]]
    ids: dict[str, str]


def read_labels_by_id(annotations: Path, mapping: Path | None) -> ReleaseLabels:
    """Read the annotations.

    Args:
        mapping: RSNA's JSON; None: images are named by their SOPInstanceUID.

    Raises:
        BadInput: one of the files cannot be read, or has faults; every fault of the first that has.
    """
    ids, image_of_study = read_names(mapping) if mapping else ({}, {})
    consensus = consensus_of(read_export(annotations), image_of_study)
    classes = dict(sorted((ids.get(image, image), kind) for image, kind in consensus.classes.items()))
    boxes = dict(sorted((ids.get(image, image), boxes) for image, boxes in consensus.boxes.items()))
    unlabelled = {ids.get(image, image): labels for image, labels in consensus.unlabelled.items()}
    return ReleaseLabels(annotations, mapping, classes, boxes, unlabelled, ids)


def read_names(mapping: Path) -> tuple[dict[str, str], dict[str, str]]:
    """{SOPInstanceUID: patientId} and {StudyInstanceUID: SOPInstanceUID} of RSNA's mapping.

    Raises:
        BadInput: the file cannot be read, or gives two images the same patientId.
    """
    ids, image_of_study, sop_of, faults = {}, {}, {}, []
    for number, image in read_mapping(mapping):
        if not image.sop:
            continue
        image_of_study[image.study] = image.sop
        if image.patient_id:
            ids[image.sop] = image.patient_id
            first = sop_of.setdefault(image.patient_id, image.sop)
            if first != image.sop:
                what = f"{image.patient_id} is the image {first} and the image {image.sop} (object {number})"
                faults.append(Fault("mapping-contradiction", str(mapping), None, what, "keep the correct object"))
    if faults:
        raise BadInput(faults)
    return ids, image_of_study


def json_mapping(*candidates: Path | None, annotations: Path | None = None) -> Path | None:
    """The first candidate that is RSNA's JSON, else the one beside the annotations; None where there is none."""
    beside = sorted(annotations.parent.iterdir()) if annotations and annotations.parent.is_dir() else []
    others = [path for path in beside if fnmatch(path.name, NAMES["mapping"])]
    return next((path for path in (*candidates, *others) if path and is_json_file(path)), None)


def read_test_ids(file: Path) -> list[str]:
    """Read a list of the test images: Kaggle's sample submission, a table or list of ids, or of files <id>.dcm."""
    return [name_without_suffix(PurePosixPath(name.replace("\\", "/").split(" ")[0]).name) for name in read_ids(file)]


def check_test_ids(labels: ReleaseLabels, ids: Collection[str], source: Path) -> None:
    """Raises BadInput where test images have no consensus label."""
    missing = [name for name in ids if name not in labels.classes]
    if not missing:
        return
    what = f"{len(missing)} of its {len(ids)} images have no label in {labels.annotations.name}, the first is "
    what += f"{missing[0]}{spelling_difference(missing, labels.classes)}"
    fix = f"give {WHERE}"
    if labels.mapping is None:
        fix = "give mapping= RSNA's pneumonia-challenge-dataset-mappings_2018.json, which has Kaggle's ids"
    raise bad_input(source, what, fix)


def final_boxes(annotations: Path, mapping: Path | None, test_ids: Path) -> dict[str, list[Box]]:
    """{test image: its boxes}, sorted by id.

    Args:
        test_ids: file for `read_test_ids`.

    Raises:
        BadInput: a file cannot be read, or the annotations lack a test image.
    """
    labels, ids = read_labels_by_id(annotations, mapping), read_test_ids(test_ids)
    check_test_ids(labels, ids, test_ids)
    return {image: labels.boxes[image] for image in sorted(ids)}


def write_final_labels(name: str, boxes: dict[str, list[Box]]) -> Path:
    """Write the label table of the test images under cache/. name: of the competition."""
    return write_labels(f"{name}-final-test", boxes)
