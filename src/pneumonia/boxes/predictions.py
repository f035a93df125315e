"""Prediction tables: detections and class probabilities, in memory and as CSV.

Detections have exactly the competition's submission format, so that any submission can be an input:

    patientId,PredictionString
    0004cfab-...,0.67 275.2 449.0 186.4 222.8 0.31 648.9 538.8 216.5 208.8
    000924cf-...,

Ids are text exactly as in the file, also `NA` and `1e5`.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumonia.boxes.image_ids import SAMPLE_COLUMNS
from pneumonia.system.csv_rows import (
    describe_duplicate,
    first_faults,
    format_exactly,
    is_missing,
    quote_cell,
    read_rows,
)
from pneumonia.system.errors import BadInput, Fault
from pneumonia.system.files import atomic_write

HEADER = SAMPLE_COLUMNS
NOT_NUMERIC = re.compile(r"[^0-9eE+\-. ]")  # float() alone also accepts "nan", "1_0" and Arabic digits


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of many images, ragged: image i has rows offsets[i]:offsets[i + 1].

    ids: (images,) patientId. offsets: (images + 1,) int64. boxes: (n, 4) float64 x, y, width, height in pixels of the
    original image. scores: (n,) float64 confidences. Boxes keep their order, which decides ties.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    @classmethod
    def from_lists(
        cls, ids: Sequence[str], boxes_list: Sequence[np.ndarray], scores_list: Sequence[np.ndarray]
    ) -> "Detections":
        """From one (k, 4) array of boxes and one (k,) array of confidences per image."""
        counts = [len(scores) for scores in scores_list]
        boxes = [np.reshape(np.asarray(boxes, dtype=np.float64), (-1, 4)) for boxes in boxes_list]
        if not len(ids) == len(boxes) == len(counts) or counts != [len(xywh) for xywh in boxes]:
            raise ValueError("ids, boxes and scores must have one entry per image, and one score per box")
        scores = [np.asarray(scores, dtype=np.float64) for scores in scores_list]
        return cls(
            tuple(ids),
            offsets_of(np.array(counts, dtype=np.int64)),
            np.concatenate([np.empty((0, 4)), *boxes]),
            np.concatenate([np.empty(0), *scores]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def counts(self) -> np.ndarray:
        """(images,) number of boxes of each image."""
        return np.diff(self.offsets)

    @property
    def image_of_box(self) -> np.ndarray:
        """(n,) position in `ids` of each box's image."""
        return np.repeat(np.arange(len(self.ids)), self.counts)

    def image(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (k, 4) and confidences (k,) of one image."""
        rows = slice(self.offsets[position], self.offsets[position + 1])
        return self.boxes[rows], self.scores[rows]

    def rows(self, positions: np.ndarray) -> "Detections":
        """The images at these positions, in this order."""
        positions = np.asarray(positions, dtype=np.int64)
        counts = self.counts[positions]
        offsets = offsets_of(counts)
        source = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[positions], counts)
        return Detections(tuple(self.ids[row] for row in positions), offsets, self.boxes[source], self.scores[source])

    def select(self, ids: Sequence[str]) -> "Detections":
        """The images with these ids, in this order. Raises KeyError for an unknown id."""
        position = {name: row for row, name in enumerate(self.ids)}
        return self.rows(np.array([position[name] for name in ids], dtype=np.int64))

    def keep(self, mask: np.ndarray) -> "Detections":
        """Every image, with only the boxes where `mask` (n,) is true."""
        kept_before = np.concatenate([[0], np.cumsum(mask)])
        return Detections(self.ids, kept_before[self.offsets], self.boxes[mask], self.scores[mask])

    def with_scores(self, scores: np.ndarray) -> "Detections":
        """The same boxes with other confidences (n,)."""
        return Detections(self.ids, self.offsets, self.boxes, np.asarray(scores, dtype=np.float64))

    def with_boxes(self, boxes: np.ndarray) -> "Detections":
        """The same confidences with other boxes (n, 4)."""
        return Detections(self.ids, self.offsets, np.asarray(boxes, dtype=np.float64), self.scores)

    def scaled(self, factors: np.ndarray) -> "Detections":
        """Every image's boxes resized. factors: (images, 2) for x and width, and for y and height."""
        return self.with_boxes(self.boxes * np.tile(np.asarray(factors, dtype=np.float64), 2)[self.image_of_box])

    def by_confidence(self) -> "Detections":
        """Every image's boxes in descending confidence; ties keep their order."""
        order = np.lexsort((-self.scores, self.image_of_box))
        return Detections(self.ids, self.offsets, self.boxes[order], self.scores[order])


@dataclass(eq=False)
class ClassProbabilities:
    """Image probabilities. ids: (n,); opacity: (n,) float64; normal, not_normal: (n,), or None for a binary model."""

    ids: tuple[str, ...]
    opacity: np.ndarray
    normal: np.ndarray | None = None
    not_normal: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, positions: np.ndarray) -> "ClassProbabilities":
        columns = (None if column is None else column[positions] for column in self.columns())
        return ClassProbabilities(tuple(self.ids[row] for row in positions), *columns)

    def select(self, ids: Sequence[str]) -> "ClassProbabilities":
        """The images with these ids, in this order. Raises KeyError for an unknown id."""
        position = {name: row for row, name in enumerate(self.ids)}
        return self.rows(np.array([position[name] for name in ids], dtype=np.int64))

    def columns(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        return self.opacity, self.normal, self.not_normal


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """(n,) counts to (n + 1,) int64 offsets."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


# ------------------------------------------------------------------ detections as CSV


def read_detections(path: str | Path) -> Detections:
    """Read a detection table or a submission.

    Raises:
        BadInput: every faulty row, with its line number and fix.
    """
    detections, _, faults = parse_detections(path)
    if faults:
        raise BadInput(first_faults(faults, path))
    return detections


def write_detections(path: str | Path, detections: Detections) -> None:
    """Write the submission format; numbers in full, so that reading gives the same bits."""
    with atomic_write(path) as file:
        file.write(",".join(HEADER) + "\n")
        values = np.column_stack([detections.scores, detections.boxes]).ravel().tolist()
        ends = (detections.offsets * 5).tolist()
        for row, name in enumerate(detections.ids):
            text = " ".join(map(repr, values[ends[row] : ends[row + 1]]))
            file.write(f"{quote_cell(name)},{text}\n")


def parse_detections(path: str | Path) -> tuple[Detections, list[int], list[Fault]]:
    """Read a detection table as far as possible: the valid rows, their line numbers, and every fault."""
    faults: list[Fault] = []
    ids: list[str] = []
    lines: list[int] = []
    counts: list[int] = []
    numbers = array("d")
    seen: dict[str, int] = {}
    for line, cells in read_rows(path, [HEADER], faults):
        name, text = cells
        text = "" if is_missing(text) else text
        if name in seen:
            faults.append(Fault("duplicate-id", str(path), line, *describe_duplicate(name, seen[name])))
            continue
        seen[name] = line
        try:
            values = array("d", map(float, text.split())) if not NOT_NUMERIC.search(text) else None
        except ValueError:
            values = None
        if values is None:
            faults.append(
                Fault("not-a-number", str(path), line, f"'{first_bad_token(text)}' is not a number", WRITE_NUMBERS)
            )
            continue
        if len(values) % 5:
            what = f"{len(values)} numbers, not five per box"
            faults.append(Fault("five-numbers", str(path), line, what, WRITE_NUMBERS))
            continue
        ids.append(name)
        lines.append(line)
        counts.append(len(values) // 5)
        numbers.extend(values)
    table = np.frombuffer(numbers, dtype=np.float64).reshape(-1, 5) if numbers else np.empty((0, 5))
    detections = Detections(
        tuple(ids), offsets_of(np.array(counts, dtype=np.int64)), table[:, 1:].copy(), table[:, 0].copy()
    )
    faults += box_faults(detections, lines, path)
    return detections, lines, sorted(faults, key=lambda fault: fault.row or 0)


WRITE_NUMBERS = "write 'confidence x y width height' for each box, separated by spaces, or nothing"


def box_faults(detections: Detections, lines: list[int], path: str | Path) -> list[Fault]:
    """The faults of `wrong_boxes`, each at its image's line of the file."""
    image, order = detections.image_of_box, "; the order is confidence x y width height"
    return [
        Fault(code, str(path), lines[image[box]], what, fix + (order if code == "confidence" else ""))
        for box, code, what, fix in wrong_boxes(detections)
    ]


def wrong_boxes(detections: Detections) -> Iterator[tuple[int, str, str, str]]:
    """Yield (box, code, what, fix) of confidences outside [0, 1], sizes that are not positive, numbers not finite."""
    finite = np.isfinite(detections.boxes).all(axis=1) & np.isfinite(detections.scores)
    checks = [
        ("not-finite", ~finite, "a number is too large", "write finite numbers"),
        (
            "confidence",
            finite & ((detections.scores < 0) | (detections.scores > 1)),
            "confidence {0} is outside [0, 1]",
            "clip it to [0, 1]",
        ),
        (
            "size",
            finite & (detections.boxes[:, 2:] <= 0).any(axis=1),
            "width {3} and height {4} are not both positive",
            "remove the box or correct its size",
        ),
    ]
    for code, bad, what, fix in checks:
        for box in np.flatnonzero(bad):
            values = (detections.scores[box], *detections.boxes[box])
            yield int(box), code, what.format(*map(format_exactly, values)), fix


def first_bad_token(text: str) -> str:
    """The first word of a text that is not a number."""
    for token in text.split():
        try:
            if not NOT_NUMERIC.search(token):
                float(token)
                continue
        except ValueError:
            pass
        return token
    return text.strip()


# ------------------------------------------------------------------ class probabilities as CSV

CLASS_HEADERS = [["patientId", "opacity"], ["patientId", "normal", "not_normal", "opacity"]]


def read_classes(path: str | Path) -> ClassProbabilities:
    """Read a table of class probabilities: patientId, opacity; or patientId, normal, not_normal, opacity.

    Raises:
        BadInput: every faulty row, with its line number and fix.
    """
    faults: list[Fault] = []
    ids: list[str] = []
    values: list[list[float]] = []
    seen: dict[str, int] = {}
    for line, (name, *cells) in read_rows(path, CLASS_HEADERS, faults):
        if name in seen:
            faults.append(Fault("duplicate-id", str(path), line, *describe_duplicate(name, seen[name])))
            continue
        seen[name] = line
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            numbers = [-1.0]
        if not all(0.0 <= number <= 1.0 for number in numbers):
            what = f"'{','.join(cells)}' is not a probability"
            faults.append(Fault("probability", str(path), line, what, "write numbers from 0 to 1"))
            continue
        ids.append(name)
        values.append(numbers)
    if faults:
        raise BadInput(first_faults(faults, path))
    columns = np.array(values, dtype=np.float64).reshape(len(ids), -1).T if ids else np.empty((1, 0))
    if len(columns) == 3:
        return ClassProbabilities(tuple(ids), opacity=columns[2], normal=columns[0], not_normal=columns[1])
    return ClassProbabilities(tuple(ids), opacity=columns[0])


def write_classes(path: str | Path, classes: ClassProbabilities) -> None:
    """Write a table of class probabilities; numbers in full, so that reading gives the same bits."""
    names = CLASS_HEADERS[0 if classes.normal is None else 1]
    columns = [getattr(classes, name).tolist() for name in names[1:]]
    with atomic_write(path) as file:
        file.write(",".join(names) + "\n")
        for name, *values in zip(classes.ids, *columns):
            file.write(",".join([quote_cell(name), *map(repr, values)]) + "\n")


def classes_file(predictions: Path) -> Path:
    """The table of class probabilities that is written beside a table of boxes: boxes.csv has boxes-classes.csv."""
    return predictions.with_name(f"{predictions.stem}-classes{predictions.suffix}")


def concatenate_tables(tables: list) -> Detections | ClassProbabilities:
    """Join tables of different images, such as the held-out images of all folds."""
    ids = [image for table in tables for image in table.ids]
    if isinstance(tables[0], ClassProbabilities):
        columns = zip(*(table.columns() for table in tables))
        return ClassProbabilities(tuple(ids), *(None if part[0] is None else np.concatenate(part) for part in columns))
    parts = [table.image(row) for table in tables for row in range(len(table))]
    return Detections.from_lists(ids, [boxes for boxes, _ in parts], [scores for _, scores in parts])
