"""The competition's tables: the good rows, and every fault of the others with its line and its fix.

Every command reads the label table here. Ids are text as they stand in the file: `1e5` and `NA` stay what they are.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pneumonia.boxes.image_ids import read_sample_ids
from pneumonia.data.labels import CLASSES
from pneumonia.system.csv_rows import is_missing, printable, read_rows
from pneumonia.system.errors import BadInput, Fault

LABEL_COLUMNS = ["patientId", "x", "y", "width", "height", "Target"]
BOX_COLUMNS = LABEL_COLUMNS[1:5]
CLASS_COLUMNS = ["patientId", "class"]

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


def read_labels(path: Path, faults: list[Fault], uuids: bool = True) -> LabelRows:
    """The label table: one row per box, or one of Target 0 with empty cells for an image without any.

    Rows with a fault of their own are left out and their faults go to the list, as do repeats and contradictions.

    Args:
        uuids: ids must be lower-case UUIDs, as a competition's images are named.
    """
    rows, id_faults, count = LabelRows(), IdFaults(path, uuids), 0
    found: list[Fault] = []
    for line, (name, *numbers, target) in rows_of(path, LABEL_COLUMNS, found):
        count += 1
        rows.mentioned.setdefault(meant(name), line)
        is_fault = id_faults.add(name, line)
        of_row = [Fault(code, str(path), line, what, fix) for code, what, fix in row_faults(numbers, target)]
        found += of_row
        if is_fault or of_row:
            continue
        rows.ids.append(name)
        rows.lines.append(line)
        rows.targets.append(target_of(target))
        rows.boxes.append(tuple(map(float, numbers)) if rows.targets[-1] else None)
    faults += in_order([*id_faults.of(count), *found, *label_faults(rows, path)])
    return rows


def row_faults(numbers: list[str], target: str) -> Iterator[tuple[str, str, str]]:
    """Everything that is wrong with the box and the Target of one row of the label table: code, what, fix."""
    value = target_of(target)
    empty = [is_missing(text) for text in numbers]
    if value == 1 and not all(empty):
        empty = [not text for text in numbers]  # a single nan is a wrong number, not the lack of a box
    if value is None:
        yield "target", f"Target is {printable(target)}", "write 0 (no opacity) or 1 (the row's box is an opacity)"
    elif value == 0 and not all(empty):
        yield "box-without-target", "Target is 0, yet there is a box", "remove the box, or write Target 1"
    elif value == 1 and any(empty):
        lacking = ", ".join(column for column, lacks in zip(BOX_COLUMNS, empty) if lacks)
        yield "target-without-box", f"Target is 1, yet {lacking} is empty", "write the box, or Target 0"
    for column, text, lacks in zip(BOX_COLUMNS, numbers, empty):
        if lacks:
            continue
        number = float(text) if NUMBER.fullmatch(text) else math.nan
        if NOT_FINITE.fullmatch(text) or math.isinf(number):
            yield "not-finite", f"{column} is {printable(text)}, no finite number", "write the box in pixels"
        elif math.isnan(number):
            yield "not-a-number", f"{column} is {printable(text)}, no number", "write the box in pixels"
        elif column in ("width", "height") and number <= 0:
            yield "size", f"{column} is {printable(text)}, not above 0", "write the box's true size, or remove the row"


def target_of(text: str) -> int | None:
    """0 or 1, which pandas may have written as 0.0 or 1.0; None for anything else."""
    number = float(text) if NUMBER.fullmatch(text) else math.nan
    return int(number) if number in (0, 1) else None


def label_faults(labels: LabelRows, path: Path) -> Iterator[Fault]:
    """Rows that stand twice, and images with Target 0 and 1."""
    rows: dict[tuple, int] = {}
    targets: dict[str, tuple[int, int]] = {}
    for name, line, target, box in zip(labels.ids, labels.lines, labels.targets, labels.boxes):
        first = rows.setdefault((name, target, box), line)
        if first != line:
            yield Fault("repeat", str(path), line, f"repeats row {first}: the same image and box", "remove this row")
        before, where = targets.setdefault(name, (target, line))
        if before != target:
            what = f"Target {target} for {name}, which has Target {before} in row {where}"
            yield Fault("target-contradiction", str(path), line, what, "keep the rows that are true")


def read_classes(path: Path, faults: list[Fault], uuids: bool = True) -> ClassRows:
    """The class table; its repeated rows are by nature, one for every box of an image."""
    rows, id_faults, count = ClassRows(), IdFaults(path, uuids), 0
    names = dict(zip(CLASSES.display_names, CLASSES.names))
    found: list[Fault] = []
    for line, (name, kind) in rows_of(path, CLASS_COLUMNS, found):
        count += 1
        rows.mentioned.setdefault(meant(name), line)
        if id_faults.add(name, line):
            continue
        if kind not in names:
            fix = "write " + ", ".join(f"'{each}'" for each in names)
            found.append(Fault("class-name", str(path), line, f"there is no class {printable(kind)}", fix))
            continue
        rows.ids.append(name)
        rows.lines.append(line)
        rows.classes.append(names[kind])
    faults += in_order([*id_faults.of(count), *found])
    return rows


def read_sample(path: Path, faults: list[Fault], uuids: bool = True) -> dict[str, int]:
    """The competition's sample submission: id to line of the file, in the file's order."""
    if is_missing_file(path, faults):
        return {}
    try:
        lines = read_sample_ids(path, faults)
    except BadInput as error:
        faults += error.faults
        return {}
    id_faults = IdFaults(path, uuids)
    good = {name: line for name, line in lines.items() if not id_faults.add(name, line)}
    faults += id_faults.of(len(lines))
    return good


# ------------------------------------------------------------------ any table


def rows_of(path: Path, columns: list[str], faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every good row; a file that is wrong as a whole is a fault, without rows."""
    if is_missing_file(path, faults):
        return
    try:
        yield from read_rows(path, [columns], faults)
    except BadInput as error:
        faults += error.faults


def in_order(faults: list[Fault]) -> list[Fault]:
    """By row; those of one row as they are."""
    return sorted(faults, key=lambda fault: fault.row or 0)


def is_missing_file(path: Path, faults: list[Fault]) -> bool:
    if not path.exists():
        fix = "download it from the competition's data page, or give its path"
        faults.append(Fault("missing", str(path), None, "is missing", fix))
    return not path.exists()


class IdFaults:
    """What is wrong with a table's ids; in one line where all are spelled alike, in capital letters or with .dcm."""

    def __init__(self, path: Path, uuids: bool = True):
        self.path, self.uuids = path, uuids
        self.faults: list[Fault] = []
        self.spelled: list[tuple[int, str]] = []  # line and id of those that have a UUID in them

    def add(self, name: str, line: int) -> bool:
        """Whether the id of this row is a fault."""
        if not self.uuids or UUID.fullmatch(name):
            return False
        what = f"the patientId {printable(name)} is no lower-case UUID"
        fix = "write the image's id, which is its file's name without .dcm"
        if meant(name) != name:
            self.spelled.append((line, name))
            fix = f"write {meant(name)}"
        self.faults.append(Fault("id", str(self.path), line, what, fix))
        return True

    def of(self, rows: int) -> list[Fault]:
        """The faults of a table with so many rows."""
        if not len(self.spelled) == rows > 1:
            return self.faults
        line, name = self.spelled[0]
        how = "in capital letters" if name.lower() == meant(name) else f"spelled as {printable(name)}"
        fix = f"write {meant(name)} for {printable(name)}, and so on"
        return [Fault("id", str(self.path), line, f"all its patientIds are {how}", fix)]


def meant(name: str) -> str:
    """The lower-case UUID inside a text, as in a path or in capitals; the text itself where there is none."""
    inside = None if UUID.fullmatch(name) else UUID.search(name.lower())
    return inside[0] if inside else name
