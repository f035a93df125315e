"""What the writers of other tools' formats get, and the table images.csv, which a reader needs beside such files."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pneumonia.boxes.predictions import Detections
from pneumonia.system.csv_rows import quote_cell, read_rows
from pneumonia.system.errors import BadInput, Fault, bad_input

CLASS_NAME = "opacity"  # the only class of boxes
IMAGES_TABLE = "images.csv"
IMAGES_COLUMNS = ["patientId", "width", "height", "fold"]
DEFAULT_SIZE = (1024, 1024)  # width, height of every image of the competition


@dataclass(frozen=True, eq=False)
class BoxSet:
    """Boxes to write. Every table has the same images in the same order.

    ids: (images,) patientId. sizes: (images, 2) width, height in pixels. truth, predictions: None where there are
    none; the scores of `truth` mean nothing. folds: {patientId: fold} of a fold table; empty without one.
    """

    ids: tuple[str, ...]
    sizes: np.ndarray
    truth: Detections | None = None
    predictions: Detections | None = None
    folds: Mapping[str, str] = field(default_factory=dict)

    def splits(self) -> dict[str, list[str]]:
        """{name: ids} of each list of images: fold0_train, fold0_val, ...; or train, val, test as in the fold table.

        Images of other folds, such as `holdout`, get a list under that name, `removed` ones none.
        """
        names = sorted({self.folds[image] for image in self.ids if image in self.folds} - {"removed"})
        numbers = [name for name in names if name.isdigit()]
        lists = {name: [image for image in self.ids if self.folds.get(image) == name] for name in names}
        splits = {}
        for number in numbers:
            others = {name for name in numbers if name != number}
            splits[f"fold{number}_train"] = [image for image in self.ids if self.folds.get(image) in others]
            splits[f"fold{number}_val"] = lists[number]
        return splits | {name: lists[name] for name in names if name not in numbers}


def check_file_names(ids: tuple[str, ...], file: str | Path) -> None:
    """Raises BadInput for the first id that cannot be the name of a file."""
    for image in ids:
        if image in (".", "..") or any(letter in image for letter in "/\\\0") or image != image.strip():
            fix = "choose format=coco or format=csv, which need no file per image"
            raise bad_input(file, f"the id {image!r} cannot be the name of a file", fix)


def write_images(folder: Path, boxes: BoxSet) -> None:
    """Write images.csv: patientId, width, height, fold (empty without a fold table)."""
    with open(folder / IMAGES_TABLE, "w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(IMAGES_COLUMNS) + "\n")
        for image, (width, height) in zip(boxes.ids, boxes.sizes.tolist()):
            file.write(f"{quote_cell(image)},{width},{height},{boxes.folds.get(image, '')}\n")


def read_images(path: Path) -> dict[str, tuple[int, int]]:
    """Read images.csv: {patientId: (width, height)}, in its order. Raises BadInput with every faulty row."""
    faults: list[Fault] = []
    sizes: dict[str, tuple[int, int]] = {}
    for line, (image, width, height, _) in read_rows(path, [IMAGES_COLUMNS], faults):
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            what = f"{width} x {height} is not a size"
            faults.append(Fault("size", str(path), line, what, "write width and height in pixels"))
        elif image in sizes:
            faults.append(Fault("duplicate-id", str(path), line, f"{image} is listed twice", "keep one row"))
        else:
            sizes[image] = int(width), int(height)
    if faults:
        raise BadInput(faults)
    return sizes


def read_fold_table(path: Path) -> dict[str, str]:
    """Read {patientId: fold} of a fold table with the columns patientId, group, fold. Raises BadInput."""
    faults: list[Fault] = []
    folds = {image: fold for _, (image, _, fold) in read_rows(path, [["patientId", "group", "fold"]], faults)}
    if faults:
        raise BadInput(faults)
    return folds


def write_rows(path: Path, header: list[str], rows) -> None:
    """Write a CSV file."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
