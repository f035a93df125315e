"""Corner boxes as CSV: patientId,x_min,y_min,x_max,y_max[,score]; empty cells for an image without a box.

Numbers are written in full. A box is read back with the same corners; width and height, which are differences of
corners, differ by less than 1e-9 pixels, and not at all where they are whole numbers, as RSNA's are.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.boxes.exchange.box_set import BoxSet, write_images, write_rows
from pneumonia.boxes.predictions import NOT_NUMERIC, Detections, wrong_boxes
from pneumonia.system.csv_rows import first_faults, is_missing, read_rows, split_cells
from pneumonia.system.errors import Fault

CORNERS = ["patientId", "x_min", "y_min", "x_max", "y_max"]
HEADERS = [
    [*CORNERS, "score"],
    ["patientId", "xmin", "ymin", "xmax", "ymax", "score"],
    ["patientId", "x1", "y1", "x2", "y2", "score"],
    ["image_id", "x_min", "y_min", "x_max", "y_max", "score"],
]
FIX = "write x_min,y_min,x_max,y_max,score in pixels, or empty cells for an image without a box"


def write(folder: Path, boxes: BoxSet) -> None:
    """Write boxes.csv (true boxes), predictions.csv, and images.csv."""
    write_images(folder, boxes)
    if boxes.truth is not None:
        write_rows(folder / "boxes.csv", CORNERS, rows_of(boxes.truth, with_scores=False))
    if boxes.predictions is not None:
        write_rows(folder / "predictions.csv", HEADERS[0], rows_of(boxes.predictions, with_scores=True))


def rows_of(table: Detections, with_scores: bool):
    """Yield a row for each box, and one with empty cells for each image without a box."""
    for row, image in enumerate(table.ids):
        boxes, scores = table.image(row)
        for corners, score in zip(geometry.to_corners(boxes).tolist(), scores.tolist()):
            yield [image, *corners, score] if with_scores else [image, *corners]
        if not len(boxes):
            yield [image, *[""] * (5 if with_scores else 4)]


def is_corner_table(path: Path) -> bool:
    """Whether a CSV file has the header of a table of corner boxes; a file that cannot be read has not."""
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with (gzip.open if is_gzip else open)(path, "rb") as file:
            header = file.readline(1000)
    except (OSError, EOFError, zlib.error):
        return False
    return split_cells(header.decode("utf-8-sig", "replace").strip()) in HEADERS


def read(path: Path) -> tuple[Detections, list[Fault]]:
    """Read a table of predictions. Rows of one image need not follow each other. Raises BadInput for another header."""
    faults: list[Fault] = []
    boxes: dict[str, list[list[float]]] = {}
    lines: dict[str, list[int]] = {}
    for line, (image, *cells) in read_rows(path, HEADERS, faults):
        own = boxes.setdefault(image, [])
        if all(map(is_missing, cells)):
            continue
        try:
            if any(map(NOT_NUMERIC.search, cells)):
                raise ValueError
            own.append([float(cell) for cell in cells])
            lines.setdefault(image, []).append(line)
        except ValueError:
            faults.append(Fault("corners", str(path), line, f"'{','.join(cells)}' are not five numbers", FIX))
    tables = [np.reshape(np.array(rows, dtype=np.float64), (-1, 5)) for rows in boxes.values()]
    detections = Detections.from_lists(
        [*boxes], [geometry.to_xywh(table[:, :4]) for table in tables], [table[:, 4] for table in tables]
    )
    places = [line for image in boxes for line in lines.get(image, [])]
    for box, code, what, fix in wrong_boxes(detections):
        faults.append(Fault(code, str(path), places[box], what, fix))
    return detections, first_faults(sorted(faults, key=lambda fault: fault.row or 0), path)
