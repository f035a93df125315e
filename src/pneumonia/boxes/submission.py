"""The competition's submission: write it in the sample's order, and validate it row by row."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pneumonia.boxes.image_ids import read_sample_ids, spelling_difference
from pneumonia.boxes.predictions import HEADER, Detections, parse_detections, write_detections
from pneumonia.system.csv_rows import format_exactly, read_rows
from pneumonia.system.errors import Fault, bad_input

FRAME = 1024.0  # pixels; every image of the competition is 1024 x 1024
SLACK = 1e-6  # pixels by which x + width may exceed the frame, because numbers in text are rounded


def read_sample(path: str | Path, predicted: Sequence[str] | None = None) -> tuple[str, ...]:
    """Read the ids of a sample submission, in its order; its boxes are ignored.

    Raises:
        BadInput: it cannot be read, or lists an image that is not in `predicted`, unless that is None.
    """
    faults: list[Fault] = []
    lines = read_sample_ids(path, faults)
    if faults:
        raise bad_input(path, faults[0].what, "use the competition's sample submission", faults[0].row)
    known = lines if predicted is None else set(predicted)
    unknown = [name for name in lines if name not in known]
    if unknown:
        difference = spelling_difference(unknown, known)
        what = f"{len(unknown)} of its {len(lines)} images are not predicted, the first is {unknown[0]}{difference}"
        raise bad_input(path, what, "give a sample that lists only images that are predicted", lines[unknown[0]])
    return tuple(lines)


def write_submission(path: str | Path, detections: Detections, sample: tuple[str, ...] | None = None) -> None:
    """Write the images that the sample lists, in its order; without a sample, all images in their order.

    Args:
        sample: ids, all among those of the detections (`read_sample`).
    """
    write_detections(path, detections if sample is None else detections.select(sample))


def validate(path: str | Path, sample: str | Path | None = None, frame: float = FRAME) -> list[Fault]:
    """Find every fault of a submission, in the order of its rows; [] if it is valid.

    Args:
        sample: file with the ids that the submission must have, in that order; None: any ids.
        frame: width and height of the images in pixels; 0: any.

    Raises:
        BadInput: the file or the sample cannot be read, or has the wrong header.
    """
    detections, lines, faults = parse_detections(path)
    if frame > 0:
        faults += frame_faults(detections, lines, path, frame)
    if sample is not None:
        faults += id_faults(path, read_sample(sample))
    return sorted(faults, key=lambda fault: fault.row or 0)


def frame_faults(detections: Detections, lines: list[int], path: str | Path, frame: float) -> list[Fault]:
    """Boxes that exceed the frame."""
    x, y, width, height = detections.boxes.T
    with np.errstate(invalid="ignore", over="ignore"):
        outside = (x < 0) | (y < 0) | (x + width > frame + SLACK) | (y + height > frame + SLACK)
    image = detections.image_of_box
    fix = "clip it to the image"
    return [
        Fault(
            "frame",
            str(path),
            lines[image[box]],
            f"the box {' '.join(map(format_exactly, detections.boxes[box]))} exceeds the frame of "
            f"{format_exactly(frame)}",
            fix,
        )
        for box in np.flatnonzero(outside & np.isfinite(detections.boxes).all(axis=1))
    ]


def id_faults(path: str | Path, sample_ids: tuple[str, ...]) -> list[Fault]:
    """Ids that are not in the sample, ids that are missing, and the first row that is out of order."""
    rows = [(line, name) for line, (name, _) in read_rows(path, [HEADER], [])]
    known, present = set(sample_ids), {name for _, name in rows}
    if rows and known.isdisjoint(present):
        difference = spelling_difference((name for _, name in rows), known)
        return [
            Fault("unknown-id", str(path), None, f"has none of the sample's ids{difference}", "use the sample's ids")
        ]
    faults = [
        Fault("unknown-id", str(path), line, f"{name} is not in the sample", "remove the row")
        for line, name in rows
        if name not in known
    ]
    missing = [name for name in sample_ids if name not in present]
    if missing:
        what = f"{len(missing)} ids of the sample are missing, the first is {missing[0]}"
        faults.append(
            Fault(
                "missing-id",
                str(path),
                None,
                what,
                "write a row for each, with an empty cell where nothing is predicted",
            )
        )
    if not faults:
        for (line, name), expected in zip(rows, sample_ids):
            if name != expected:
                what = f"{name} is where the sample has {expected}"
                faults.append(Fault("order", str(path), line, what, "keep the sample's order"))
                break
    return faults
