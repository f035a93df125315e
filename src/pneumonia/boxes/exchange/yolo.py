"""YOLO text as ultralytics reads and writes it: labels/ID.txt with a line for each box, and a YAML of the data set.

https://docs.ultralytics.com/datasets/detect/. A line is `class x_centre y_centre width height [confidence]`, the four
in shares of the image's width and height. They are written with 12 decimals: a box that is read back differs by less
than 1e-8 pixels.
"""

from pathlib import Path

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.boxes.exchange.box_set import (
    CLASS_NAME,
    DEFAULT_SIZE,
    IMAGES_TABLE,
    BoxSet,
    check_file_names,
    read_images,
    write_images,
)
from pneumonia.boxes.predictions import NOT_NUMERIC, Detections, wrong_boxes
from pneumonia.system.csv_rows import first_faults, printable, read_text
from pneumonia.system.errors import Fault, bad_input
from pneumonia.system.progress import say

FIX = "write `class x_centre y_centre width height confidence`; ultralytics: predict save_txt=True save_conf=True"


def write(folder: Path, boxes: BoxSet) -> None:
    """Write labels/ (true boxes), predictions/ and images.csv; for true boxes also lists and a YAML of each fold.

    Every image has a file, empty where it has no box. The YAML expects the images as images/ID.png.
    """
    check_file_names(boxes.ids, folder)
    write_images(folder, boxes)
    for name, table in (("labels", boxes.truth), ("predictions", boxes.predictions)):
        if table is not None:
            (folder / name).mkdir()
            for row, image in enumerate(boxes.ids):
                xywh, scores = table.image(row)
                text = lines_of(xywh, scores if name == "predictions" else None, boxes.sizes[row])
                (folder / name / f"{image}.txt").write_text(text, encoding="utf-8")
    if boxes.truth is not None:
        lists = boxes.splits() or {"all": list(boxes.ids)}
        for name, ids in lists.items():
            (folder / f"{name}.txt").write_text("".join(f"./images/{image}.png\n" for image in ids), encoding="utf-8")
        for name, content in data_sets(lists).items():
            (folder / f"{name}.yaml").write_text(content, encoding="utf-8")


def lines_of(xywh: np.ndarray, scores: np.ndarray | None, size: np.ndarray) -> str:
    """The lines of one image. xywh: (n, 4) in pixels. scores: (n,), None for true boxes. size: width, height."""
    shares = np.concatenate([xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]], axis=1) / np.tile(size, 2)
    lines = ["0 " + " ".join(f"{share:.12f}" for share in row) for row in shares]
    if scores is not None:
        lines = [f"{line} {score!r}" for line, score in zip(lines, scores.tolist())]
    return "".join(f"{line}\n" for line in lines)


def data_sets(lists: dict[str, list[str]]) -> dict[str, str]:
    """{name: YAML} of the data set of each fold; one, `dataset`, without folds."""
    folds = [name.removesuffix("_train") for name in lists if name.endswith("_train")]
    pairs = {fold: (f"{fold}_train", f"{fold}_val") for fold in folds}
    if not folds:
        pairs = {"dataset": ("train", "val") if {"train", "val"} <= set(lists) else ("all", "all")}
    test = next((f"test: {name}.txt\n" for name in ("test", "holdout") if name in lists), "")
    return {
        name: f"train: {train}.txt\nval: {val}.txt\n{test}names:\n  0: {CLASS_NAME}\n"
        for name, (train, val) in pairs.items()
    }


# ------------------------------------------------------------------ reading predictions


def read(folder: Path) -> tuple[Detections, list[Fault]]:
    """Read a folder of ID.txt files with confidences.

    images.csv in this folder or the one above it lists all images with their sizes. Without it images are 1024 x 1024,
    and an image without a file is not known.

    Raises:
        BadInput: the folder has no such files; images.csv is faulty.
    """
    table = next((file for file in (folder / IMAGES_TABLE, folder.parent / IMAGES_TABLE) if file.is_file()), None)
    files = {path.name.removesuffix(".txt"): path for path in sorted(folder.glob("*.txt"))}
    if not files and table is None:
        raise bad_input(folder, "has no ID.txt files", "give the folder with a text file for each image")
    if table is None:
        say(f"{folder}: no {IMAGES_TABLE}, so every image is taken as {DEFAULT_SIZE[0]} x {DEFAULT_SIZE[1]} pixels")
    sizes = read_images(table) if table else dict.fromkeys(files, DEFAULT_SIZE)
    faults = [
        Fault("unknown-id", str(path), None, f"{image} is not in {table}", "remove the file, or add a row")
        for image, path in files.items()
        if image not in sizes
    ]
    rows: list[np.ndarray] = []
    places: list[tuple[Path, int]] = []
    classes: set[str] = set()
    for image, size in sizes.items():
        numbers = []
        if image in files:
            for line, words in enumerate(map(str.split, read_text(files[image]).split("\n")), 1):
                if not words:
                    continue
                values = parse(words)
                if values is None:
                    what = f"'{printable(' '.join(words))[1:-1]}' is not a class, a box and a confidence"
                    faults.append(Fault("yolo-line", str(files[image]), line, what, FIX))
                    continue
                classes.add(words[0])
                numbers.append(values)
                places.append((files[image], line))
        rows.append(to_pixels(np.reshape(np.array(numbers, dtype=np.float64), (-1, 5)), size))
    if len(classes) > 1:
        what, fix = f"has boxes of the classes {', '.join(sorted(classes))}", f"keep those of the class {CLASS_NAME}"
        raise bad_input(folder, what, fix)
    detections = Detections.from_lists([*sizes], [table[:, :4] for table in rows], [table[:, 4] for table in rows])
    for box, code, what, fix in wrong_boxes(detections):
        file, line = places[box]
        faults.append(Fault(code, str(file), line, what, fix))
    return detections, first_faults(faults, folder)


def parse(words: list[str]) -> list[float] | None:
    """The five numbers after the class; None where the line has another form."""
    if len(words) != 6 or not words[0].isdecimal() or any(map(NOT_NUMERIC.search, words)):
        return None
    try:
        return [float(word) for word in words[1:]]
    except ValueError:
        return None


def to_pixels(shares: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, 5) centre, size and confidence in shares to x, y, width, height and confidence in pixels."""
    scaled = geometry.scale(shares[:, :4], *size)
    return np.concatenate([scaled[:, :2] - scaled[:, 2:] / 2, scaled[:, 2:], shares[:, 4:]], axis=1)
