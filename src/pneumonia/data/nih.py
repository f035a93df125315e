"""NIH ChestX-ray14, to pretrain on: 112,120 PNGs with 14 labels read from radiologists' reports.

Wang et al., ChestX-ray8, CVPR 2017. RSNA's images are part of it, under other names: pretraining must not use the
people of the RSNA fold that scores it. Both data sets number people in the same way.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

from pneumonia import config
from pneumonia.data.labels import NIH
from pneumonia.data.people import person_name
from pneumonia.data.samples import Samples
from pneumonia.system.csv_rows import first_faults, printable, read_table
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.files import atomic_write
from pneumonia.system.progress import progress

NOTHING = "No Finding"
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
IMAGE, FINDINGS, PERSON = "Image Index", "Finding Labels", "Patient ID"


def nih_samples(folder: Path, size: int, without: Collection[str]) -> tuple[Samples, np.ndarray]:
    """Read images with their 14 labels, except those of the people `without`.

    Args:
        folder: with Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv) and the PNGs anywhere below.
        without: people, named as in the fold table's `group`: NIH's numbers without leading zeros.

    Returns:
        Samples whose `classes` are (n, 14) 0 or 1 and whose boxes are empty; and each image's person, (n,) text.

    Raises:
        BadInput: the table is missing, a row is faulty, or images are missing.
    """
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is None:
        raise bad_input(folder, f"has no {TABLES[0]}", "give nih= the folder of ChestX-ray14 as NIH publishes it")
    rows = [row for row in read_labels(table) if row[2] not in without]
    files = {path.name: path for path in folder.rglob("*.png")}
    faults = [
        Fault("missing", str(table), line, f"{image} is not below {folder}", "unpack all image archives there")
        for image, _, _, line in rows
        if image not in files
    ]
    if faults or not rows:
        raise (
            BadInput(first_faults(faults, table))
            if faults
            else bad_input(table, "has only people who are excluded", "choose another fold")
        )
    ids = np.array([row[0] for row in rows])
    pixels = cached_squares(table, [files[image] for image in ids], size)
    labels = np.stack([row[1] for row in rows])
    people = np.array([row[2] for row in rows])
    return Samples(ids, pixels, [np.empty((0, 4))] * len(ids), labels), people


def read_labels(path: Path) -> list[tuple[str, np.ndarray, str, int]]:
    """(image, labels (14,) float32, person, line) of every row.

    Raises:
        BadInput: columns are missing, a row is short, a label is unknown; every faulty row.
    """
    table = read_table(path)
    positions = [table.column(name) for name in (IMAGE, FINDINGS, PERSON)]
    if None in positions:
        fix = f"it must have {IMAGE}, {FINDINGS}, {PERSON}"
        raise bad_input(path, f"the header is {printable(','.join(table.names))}", fix, 1, "columns")
    rows, faults = [], []
    for line, cells in table.rows(faults, strict=False):
        image, findings, person = (cells[position] for position in positions)
        labels = [label.strip() for label in findings.split("|")]
        unknown = [label for label in labels if label not in NIH.names and label != NOTHING]
        if unknown:
            fix = f"known: {NOTHING}, {', '.join(NIH.names)}"
            faults.append(Fault("nih-label", str(path), line, f"unknown label {unknown[0]!a}", fix))
            continue
        rows.append((image, np.isin(NIH.names, labels).astype(np.float32), person_name(person), line))
    if faults:
        raise BadInput(first_faults(faults, path))
    return rows


def cached_squares(table: Path, files: Sequence[Path], size: int) -> np.ndarray:
    """PNGs as (n, size, size) uint8, memory-mapped from a file under cache/ that is written on first use."""
    content = [str(table.absolute()), size, [(file.name, file.stat().st_size) for file in files]]
    path = config.REPOSITORY / "cache" / f"nih-{config.short_hash(content)}" / f"pixels-{size}.u8"
    shape = (len(files), size, size)
    if not path.is_file():
        with atomic_write(path, "wb") as stream:
            for file in progress(files, "reading NIH's PNGs"):
                image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
                if image is None:
                    raise bad_input(file, "cannot be read as a PNG", "download it again")
                stream.write(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).tobytes())
    return np.memmap(path, np.uint8, "r", shape=shape)
