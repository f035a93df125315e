"""The competition's tables, read strictly: the good rows, and every fault of the others with its line and its fix.

Ids are text as they stand in the file: `1e5` and `NA` stay what they are (and are refused for what they are).
"""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pneumonia.system.csv_rows import read_rows, read_text
from pneumonia.system.errors import BadInput, Fault

LABEL_COLUMNS = ["patientId", "x", "y", "width", "height", "Target"]
BOX_COLUMNS = LABEL_COLUMNS[1:5]
CLASS_COLUMNS = ["patientId", "class"]
SAMPLE_COLUMNS = ["patientId", "PredictionString"]
CLASS_OF_NAME = {"Normal": "normal", "No Lung Opacity / Not Normal": "not_normal", "Lung Opacity": "opacity"}

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() alone takes "1_0" and Arabic digits
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass
class LabelRows:
    """The good rows of a label table, in the file's order.

    ids: (n) patientId. lines: (n) line of the file, header = 1. targets: (n) 0 or 1. boxes: (n) x, y, width, height in
    pixels of the original image, None in a row of Target 0. mentioned: first line of every id, of bad rows too and
    inside bad ids, so that one bad cell is not reported a second time as an image without a label.
    """

    ids: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...] | None] = field(default_factory=list)
    mentioned: dict[str, int] = field(default_factory=dict)


@dataclass
class ClassRows:
    """The good rows of a class table: ids, lines of the file, class as the study table names it; mentioned as above."""

    ids: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    mentioned: dict[str, int] = field(default_factory=dict)


def read_labels(path: Path, faults: list[Fault]) -> LabelRows:
    """The label table. Rows with a fault of their own are left out and their faults go to the list."""
    rows = LabelRows()
    for line, cells in rows_of(path, LABEL_COLUMNS, faults):
        name, *numbers, target = cells
        rows.mentioned.setdefault(meant(name), line)
        found = [Fault(code, str(path), line, what, fix) for code, what, fix in row_faults(name, numbers, target)]
        if found:
            faults += found
            continue
        rows.ids.append(name)
        rows.lines.append(line)
        rows.targets.append(int(target))
        rows.boxes.append(tuple(map(float, numbers)) if target == "1" else None)
    return rows


def row_faults(name: str, numbers: list[str], target: str) -> Iterator[tuple[str, str, str]]:
    """Everything that is wrong with one row of the label table: code, what, fix."""
    if not UUID.fullmatch(name):
        yield "id", *id_fault(name)
    empty = [not text.strip() for text in numbers]
    if target not in ("0", "1"):
        yield "target", f"Target is {shown(target)}", "write 0 (no opacity) or 1 (the row's box is an opacity)"
    elif target == "0" and not all(empty):
        yield "box-without-target", "Target is 0, yet there is a box", "remove the box, or write Target 1"
    elif target == "1" and any(empty):
        lacking = ", ".join(column for column, lacks in zip(BOX_COLUMNS, empty) if lacks)
        yield "target-without-box", f"Target is 1, yet {lacking} is empty", "write the box, or Target 0"
    for column, text in zip(BOX_COLUMNS, map(str.strip, numbers)):
        if not text:
            continue
        value = float(text) if NUMBER.fullmatch(text) else math.nan
        if NOT_FINITE.fullmatch(text) or math.isinf(value):
            yield "not-finite", f"{column} is {shown(text)}, no finite number", "write the box in pixels"
        elif math.isnan(value):
            yield "not-a-number", f"{column} is {shown(text)}, no number", "write the box in pixels"
        elif column in ("width", "height") and value <= 0:
            yield "size", f"{column} is {shown(text)}, not above 0", "write the box's true size, or remove the row"


def read_classes(path: Path, faults: list[Fault]) -> ClassRows:
    """The class table; its repeated rows are by nature, one for every box of an image."""
    rows = ClassRows()
    for line, (name, kind) in rows_of(path, CLASS_COLUMNS, faults):
        rows.mentioned.setdefault(meant(name), line)
        if not UUID.fullmatch(name):
            faults.append(Fault("id", str(path), line, *id_fault(name)))
        elif kind not in CLASS_OF_NAME:
            fix = "write " + ", ".join(f"'{each}'" for each in CLASS_OF_NAME)
            faults.append(Fault("class-name", str(path), line, f"there is no class {shown(kind)}", fix))
        else:
            rows.ids.append(name)
            rows.lines.append(line)
            rows.classes.append(CLASS_OF_NAME[kind])
    return rows


def read_sample_ids(path: Path, faults: list[Fault]) -> dict[str, int]:
    """The sample submission: id to line of the file, in the file's order."""
    lines: dict[str, int] = {}
    for line, (name, _) in rows_of(path, SAMPLE_COLUMNS, faults):
        if not UUID.fullmatch(name):
            faults.append(Fault("id", str(path), line, *id_fault(name)))
        elif name in lines:
            what = f"{name} was already in row {lines[name]}"
            faults.append(Fault("repeat", str(path), line, what, "remove this row: a submission has one per image"))
        else:
            lines[name] = line
    return lines


# ------------------------------------------------------------------ any table


def rows_of(path: Path, columns: list[str], faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every row of the right length; a file that is wrong as a whole is a fault, without rows."""
    try:
        found = header_fault(path, columns)
        if found:
            faults.append(found)
            return
        yield from read_rows(path, [columns], faults)
    except BadInput as error:
        faults += error.faults
    except csv.Error as error:
        faults.append(Fault("cells", str(path), None, f"is no CSV: {error}", "download the table again"))


def header_fault(path: Path, columns: list[str]) -> Fault | None:
    """What is wrong with a table as a whole: missing, empty, only a header, columns wrong, lacking or repeated.

    Raises:
        BadInput: the file cannot be read or is no UTF-8.
    """
    if not path.exists():
        return Fault("missing", str(path), None, "is missing", "download it from the competition's data page")
    again = "download the table again"
    lines = read_text(path).split("\n")
    if not any(line.strip() for line in lines):
        return Fault("empty", str(path), None, "is empty", again)
    names, row = lines[0].rstrip("\r").split(","), 1
    fix = f"the first line must be {','.join(columns)}"
    repeated = [name for number, name in enumerate(names) if name in names[:number]]
    lacking = [name for name in columns if name not in names]
    unknown = [name for name in names if name not in columns]
    if repeated:
        return Fault("repeated-column", str(path), row, f"the column {shown(repeated[0])} stands twice", fix)
    if lacking:
        instead = f", but {', '.join(map(shown, unknown[:5]))}" if unknown else ""
        return Fault("columns", str(path), row, f"there is no column {', '.join(map(repr, lacking))}{instead}", fix)
    if names != columns:
        what = f"unknown columns {', '.join(map(shown, unknown[:5]))}" if unknown else "another order of columns"
        return Fault("columns", str(path), row, what, fix)
    if not any(line.strip() for line in lines[1:]):
        return Fault("header-only", str(path), None, "has a header and no rows", again)
    return None


def id_fault(name: str) -> tuple[str, str]:
    """What is wrong with an id, and its fix."""
    what = f"the patientId {shown(name)} is no lower-case UUID"
    if meant(name) != name:
        return what, f"write {meant(name)}"
    return what, "write the image's id, which is its file's name without .dcm"


def meant(name: str) -> str:
    """The lower-case UUID inside a text, as in a path or in capitals; the text itself where there is none."""
    inside = None if UUID.fullmatch(name) else UUID.search(name.lower())
    return inside[0] if inside else name


def shown(text: str) -> str:
    """Text of a file as one harmless piece of a message: control letters escaped, cut to 60."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
