"""Find every fault of a competition's tables and images at once; refuse faulty data before long work."""

import contextlib
from collections import defaultdict
from collections.abc import Sequence

from pneumonia.data import check_tables, tables
from pneumonia.data.check_dicoms import dicom_faults
from pneumonia.data.competition import Competition
from pneumonia.data.people import MAX_UNMAPPED, find_unmapped
from pneumonia.system.errors import BadInput, Fault

MAX_LINES = 20  # faults of a kind that are printed; json=true lists them all


def all_faults(competition: Competition, clip_boxes: bool = False, workers: int = 0) -> tuple[list[Fault], list[Fault]]:
    """Read everything: the tables, and every image with its pixels. Returns faults and warnings."""
    faults = check_tables.table_faults(competition, clip_boxes)
    warnings = folder_warnings(competition)
    train, test = competition.train_images, competition.test_images
    in_both = {image: train[image] for image in train.keys() & test.keys()}  # a fault, but both files are read
    for images in (train | test, in_both):
        if images:
            image_faults, image_warnings = dicom_faults(images, workers)
            faults += image_faults
            warnings += image_warnings
    return faults, warnings


def folder_warnings(competition: Competition) -> list[Fault]:
    """Warnings for what a competition may lack, with the consequences."""
    root, warnings = str(competition.root), list(competition.warnings)
    if not competition.train_images and not competition.test_images:
        what = "has tables but no images: enough for folds and eda, not for training"
        fix = "download the images from the competition's data page"
        warnings.append(Fault("no-images", root, None, what, fix))
    if competition.mapping is None:
        what = "has no table of people: images of one person can then be in several folds"
        fix = "give mapping= RSNA's pneumonia-challenge-dataset-mappings_2018.json"
        warnings.append(Fault("no-mapping", root, None, what, fix))
        return warnings
    with contextlib.suppress(BadInput):  # table_faults reports them
        unmapped = find_unmapped(competition.people(), labelled_images(competition))
        is_fault = unmapped.count > MAX_UNMAPPED * unmapped.images and not competition.allow_unmapped
        if 0 < unmapped.count < unmapped.images and not is_fault:
            what = f"lacks {unmapped} of {competition.labels.name}: each counts as a separate person"
            fix = "add them if their people are known"
            warnings.append(Fault("mapping-lacks", str(competition.mapping), None, what, fix))
    return warnings


def labelled_images(competition: Competition) -> list[str]:
    """Image ids in the label table."""
    return list(tables.read_labels(competition.labels, [], competition.has_uuids).mentioned)


def refuse_faults(
    competition: Competition,
    clip_boxes: bool = False,
    needs_images: bool | None = None,
    needs_sample: bool | None = None,
) -> None:
    """Check the tables completely, and that the images exist, before a long command.

    Args:
        needs_images, needs_sample: whether a folder without them is refused; None: as the competition says.

    Raises:
        BadInput: every fault.
    """
    faults = check_tables.table_faults(
        competition,
        clip_boxes,
        needs_images=competition.needs_images if needs_images is None else needs_images,
        needs_sample=competition.needs_sample if needs_sample is None else needs_sample,
    )
    if faults:
        error = BadInput(faults)
        error.args = ("\n".join(fault_lines(faults)),)  # prints the first of each kind; json=true lists all
        raise error


def fault_lines(faults: Sequence[Fault]) -> list[str]:
    """One line per fault, grouped by kind, at most MAX_LINES of a kind and then the number of the others."""
    kinds: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in faults:
        place = fault.file if fault.row is not None else fault.file.rpartition("/")[0]
        kinds[fault.code, place].append(fault)
    lines = []
    for (code, place), group in kinds.items():
        lines += map(str, group[:MAX_LINES])
        if len(group) > MAX_LINES:
            lines.append(
                f"error: {place}: {len(group) - MAX_LINES} more of this kind ({code}); json=true lists them all"
            )
    return lines
