"""Predictions from any tool: the competition's submission format, COCO results, YOLO text or a CSV of corner boxes."""

import hashlib
from pathlib import Path

from pneumonia.boxes.exchange import coco, corners, yolo
from pneumonia.boxes.image_ids import read_sample_ids
from pneumonia.boxes.predictions import Detections, parse_detections
from pneumonia.system.csv_rows import first_faults
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.files import sha256


def read_predictions(path: str | Path) -> Detections:
    """Read predicted boxes. Raises BadInput with every fault of the file."""
    detections, _, faults = parse_predictions(path)
    if faults:
        raise BadInput(first_faults(faults, path))
    return detections


def parse_predictions(path: str | Path) -> tuple[Detections, list[int | None], list[Fault]]:
    """Read predicted boxes as far as possible.

    Args:
        path: a folder is YOLO text; a .json file COCO results; a CSV file is a table of corner boxes if it has the
            header of one, else in the submission format.

    Returns:
        The valid rows; each image's line in the file, None where images have no line of their own; every fault.
    """
    path = Path(path)
    if path.is_dir():
        detections, faults = yolo.read(path)
    elif path.suffix.lower() == ".json":
        detections, faults = coco.read(path)
    elif corners.is_corner_table(path):
        detections, faults = corners.read(path)
    else:
        return parse_detections(path)
    return detections, [None] * len(detections), faults


def predicted_ids(path: str | Path) -> list[str]:
    """The ids of the images of `read_predictions`; of a submission without reading its boxes."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".json" or corners.is_corner_table(path):
        return list(parse_predictions(path)[0].ids)
    return list(read_sample_ids(path, []))


def content_sha256(path: Path) -> str:
    """Hex SHA-256 of a file; of a folder, of the names and hashes of its text files. Raises BadInput without a file."""
    if not path.exists():
        raise bad_input(path, "there is no such file", "give the path of a table")
    if not path.is_dir():
        return sha256(path)
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.txt")):
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()
