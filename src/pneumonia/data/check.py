"""`./run.sh check`: every fault of a competition's tables and DICOMs at once; and the gate before any long work."""

import importlib.util
from collections import defaultdict
from collections.abc import Sequence

from pneumonia import config
from pneumonia.data import check_tables
from pneumonia.data.competition import Competition, resolve
from pneumonia.errors import BadInput, Fault

SHOWN = 20  # faults of a kind that a person sees; json=true lists them all


def command(settings: config.Check) -> dict:
    """`./run.sh check`: faults and warnings, one line each on stdout; nothing is written."""
    competition = resolve(settings, needs_images=False)
    faults, warnings = all_faults(competition, settings.clip_boxes, settings.workers)
    print(readable(competition, faults, warnings))
    return {"faults": [fault.as_json() for fault in faults], "warnings": [fault.as_json() for fault in warnings]}


def all_faults(competition: Competition, clip_boxes: bool = False, workers: int = 0) -> tuple[list[Fault], list[Fault]]:
    """Everything is read: the tables, and every DICOM with its pixels. Returns faults and warnings."""
    faults = check_tables.table_faults(competition, clip_boxes)
    warnings = []
    images = {**competition.train_images, **competition.test_images}
    if images and importlib.util.find_spec("pneumonia.data.check_dicoms"):
        from pneumonia.data.check_dicoms import dicom_faults

        of_images, warnings = dicom_faults(images, workers)
        faults += of_images
    if not images:
        what = "has tables and no images: enough for folds and eda, not for training"
        mend = "download the images from the competition's data page"
        warnings.append(Fault("no-images", str(competition.root), None, what, mend))
    if competition.mapping is None:
        what = "has no table of people: a person's images can then lie in several folds"
        mend = "give mapping= RSNA's pneumonia-challenge-dataset-mappings_2018.json"
        warnings.append(Fault("no-mapping", str(competition.root), None, what, mend))
    return faults, warnings


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


def readable(competition: Competition, faults: Sequence[Fault], warnings: Sequence[Fault]) -> str:
    """What a person reads: the faults by kind, and one line that sums up."""
    lines = lines_of(faults) + [line.replace("error:", "warning:", 1) for line in lines_of(warnings)]
    train, test = len(competition.train_images), len(competition.test_images)
    checked = f"{competition.root}: {train} training and {test} test images"
    found = f"{len(faults)} fault{'' if len(faults) == 1 else 's'}" if faults else "no faults"
    return "\n".join([*lines, f"{checked}, {found}"])


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
