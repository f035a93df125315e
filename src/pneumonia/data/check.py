"""Every fault of a competition's tables and DICOMs at once; and the gate before any long work."""

import contextlib
from collections import defaultdict
from collections.abc import Sequence

from pneumonia.data import check_tables, tables
from pneumonia.data.check_dicoms import dicom_faults
from pneumonia.data.competition import Competition
from pneumonia.data.people import MOST_UNMAPPED, unmapped_of
from pneumonia.system.errors import BadInput, Fault

SHOWN = 20  # faults of a kind that a person sees; json=true lists them all


def all_faults(competition: Competition, clip_boxes: bool = False, workers: int = 0) -> tuple[list[Fault], list[Fault]]:
    """Everything is read: the tables, and every DICOM with its pixels. Returns faults and warnings."""
    faults = check_tables.table_faults(competition, clip_boxes)
    warnings = folder_warnings(competition)
    train, test = competition.train_images, competition.test_images
    twice = {image: train[image] for image in train.keys() & test.keys()}  # a fault, and still two files to read
    for images in (train | test, twice):
        if images:
            found, doubtful = dicom_faults(images, workers)
            faults += found
            warnings += doubtful
    return faults, warnings


def folder_warnings(competition: Competition) -> list[Fault]:
    """What a competition may lack, and what that means."""
    root, warnings = str(competition.root), []
    if not competition.train_images and not competition.test_images:
        what = "has tables and no images: enough for folds and eda, not for training"
        fix = "download the images from the competition's data page"
        warnings.append(Fault("no-images", root, None, what, fix))
    if competition.mapping is None:
        what = "has no table of people: a person's images can then lie in several folds"
        fix = "give mapping= RSNA's pneumonia-challenge-dataset-mappings_2018.json"
        warnings.append(Fault("no-mapping", root, None, what, fix))
        return warnings
    with contextlib.suppress(BadInput):  # faults, and reported as such
        unmapped = unmapped_of(competition.people(), labelled_images(competition))
        is_fault = unmapped.count > MOST_UNMAPPED * unmapped.images and not competition.allow_unmapped
        if 0 < unmapped.count < unmapped.images and not is_fault:
            what = f"lacks {unmapped} of {competition.labels.name}: each counts as a person of its own"
            fix = "add them if their people are known"
            warnings.append(Fault("mapping-lacks", str(competition.mapping), None, what, fix))
    return warnings


def labelled_images(competition: Competition) -> list[str]:
    """Ids in the label table."""
    return list(tables.read_labels(competition.labels, [], competition.has_uuids).mentioned)


def refuse_faults(
    competition: Competition,
    clip_boxes: bool = False,
    needs_images: bool | None = None,
    needs_sample: bool | None = None,
) -> None:
    """The gate of the commands that work long: the tables wholly, of the images that they are there.

    Args:
        needs_images, needs_sample: whether a folder without them is refused; None takes the competition's own.

    Raises:
        BadInput: every fault that was found.
    """
    faults = check_tables.table_faults(
        competition,
        clip_boxes,
        needs_images=competition.needs_images if needs_images is None else needs_images,
        needs_sample=competition.needs_sample if needs_sample is None else needs_sample,
    )
    if faults:
        error = BadInput(faults)
        error.args = ("\n".join(lines_of(faults)),)  # the screen gets the first of each kind, json=true all
        raise error


def lines_of(faults: Sequence[Fault]) -> list[str]:
    """One line a fault, kind after kind, at most SHOWN of a kind and then how many more."""
    kinds: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in faults:
        place = fault.file if fault.row is not None else fault.file.rpartition("/")[0]
        kinds[fault.code, place].append(fault)
    lines = []
    for (code, place), of_kind in kinds.items():
        lines += map(str, of_kind[:SHOWN])
        if len(of_kind) > SHOWN:
            lines.append(f"error: {place}: {len(of_kind) - SHOWN} more of this kind ({code}); json=true lists them all")
    return lines
