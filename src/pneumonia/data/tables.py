"""Read the competition's tables: the valid rows, and every fault of the others with its line and fix.

Every command reads the label table here. Ids are text exactly as in the file, also `1e5` and `NA`.
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
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() also accepts "1_0" and Arabic digits
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass
class LabelRows:
    """The valid rows of a label table, in the file's order.

    ids: (n) patientId. lines: (n) line of the file, header = 1. targets: (n) 0 or 1. boxes: (n) x, y, width, height in
    pixels of the original image, None in a row of Target 0. mentioned: first line of every id, also of
    faulty rows and ids, so that one bad cell is not reported a second time as an image without a label.
    """

    ids: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...] | None] = field(default_factory=list)
    mentioned: dict[str, int] = field(default_factory=dict)


@dataclass
class ClassRows:
    """The valid rows of a class table. classes: names of the study table; the others as in LabelRows."""

    ids: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    mentioned: dict[str, int] = field(default_factory=dict)


def read_labels(path: Path, faults: list[Fault], uuids: bool = True) -> LabelRows:
    """Read the label table: one row per box, or one row of Target 0 with empty cells for an image without boxes.

    Faulty rows are left out; their faults, repeated rows and contradictions are added to `faults`.

    Args:
        uuids: ids must be lower-case UUIDs.
    """
    rows, id_faults, count = LabelRows(), IdFaults(path, uuids), 0
    other_faults: list[Fault] = []
    for line, (name, *numbers, target) in valid_rows(path, LABEL_COLUMNS, other_faults):
        count += 1
        rows.mentioned.setdefault(uuid_in(name), line)
        has_bad_id = id_faults.add(name, line)
        cell_faults = [Fault(code, str(path), line, what, fix) for code, what, fix in row_faults(numbers, target)]
        other_faults += cell_faults
        if has_bad_id or cell_faults:
            continue
        rows.ids.append(name)
        rows.lines.append(line)
        rows.targets.append(parse_target(target))
        rows.boxes.append(tuple(map(float, numbers)) if rows.targets[-1] else None)
    faults += sorted_by_row([*id_faults.summary(count), *other_faults, *label_faults(rows, path)])
    return rows


def row_faults(numbers: list[str], target: str) -> Iterator[tuple[str, str, str]]:
    """Faults of the box and the Target in one row of the label table: code, what, fix."""
    value = parse_target(target)
    empty = [is_missing(text) for text in numbers]
    if value == 1 and not all(empty):
        empty = [not text for text in numbers]  # a single nan is a wrong number, not a missing box
    if value is None:
        yield "target", f"Target is {printable(target)}", "write 0 (no opacity) or 1 (the row's box is an opacity)"
    elif value == 0 and not all(empty):
        yield "box-without-target", "Target is 0, but there is a box", "remove the box, or write Target 1"
    elif value == 1 and any(empty):
        columns = ", ".join(column for column, is_empty in zip(BOX_COLUMNS, empty) if is_empty)
        yield "target-without-box", f"Target is 1, but {columns} is empty", "write the box, or Target 0"
    for column, text, is_empty in zip(BOX_COLUMNS, numbers, empty):
        if is_empty:
            continue
        number = float(text) if NUMBER.fullmatch(text) else math.nan
        if NOT_FINITE.fullmatch(text) or math.isinf(number):
            yield "not-finite", f"{column} is {printable(text)}, not a finite number", "write the box in pixels"
        elif math.isnan(number):
            yield "not-a-number", f"{column} is {printable(text)}, not a number", "write the box in pixels"
        elif column in ("width", "height") and number <= 0:
            yield "size", f"{column} is {printable(text)}, not above 0", "write the box's size, or remove the row"


def parse_target(text: str) -> int | None:
    """0 or 1, which pandas may have written as 0.0 or 1.0; None for anything else."""
    number = float(text) if NUMBER.fullmatch(text) else math.nan
    return int(number) if number in (0, 1) else None


def label_faults(labels: LabelRows, path: Path) -> Iterator[Fault]:
    """Repeated rows, and images with both Target 0 and 1."""
    rows: dict[tuple, int] = {}
    targets: dict[str, tuple[int, int]] = {}
    for name, line, target, box in zip(labels.ids, labels.lines, labels.targets, labels.boxes):
        first = rows.setdefault((name, target, box), line)
        if first != line:
            yield Fault("repeat", str(path), line, f"repeats row {first}: the same image and box", "remove this row")
        first_target, first_line = targets.setdefault(name, (target, line))
        if first_target != target:
            what = f"Target {target} for {name}, which has Target {first_target} in row {first_line}"
            yield Fault("target-contradiction", str(path), line, what, "keep the correct rows")


def read_classes(path: Path, faults: list[Fault], uuids: bool = True) -> ClassRows:
    """Read the class table. Its rows may repeat: there is one for every box of an image."""
    rows, id_faults, count = ClassRows(), IdFaults(path, uuids), 0
    names = dict(zip(CLASSES.display_names, CLASSES.names))
    other_faults: list[Fault] = []
    for line, (name, kind) in valid_rows(path, CLASS_COLUMNS, other_faults):
        count += 1
        rows.mentioned.setdefault(uuid_in(name), line)
        if id_faults.add(name, line):
            continue
        if kind not in names:
            fix = "write " + ", ".join(f"'{each}'" for each in names)
            other_faults.append(Fault("class-name", str(path), line, f"there is no class {printable(kind)}", fix))
            continue
        rows.ids.append(name)
        rows.lines.append(line)
        rows.classes.append(names[kind])
    faults += sorted_by_row([*id_faults.summary(count), *other_faults])
    return rows


def read_sample(path: Path, faults: list[Fault], uuids: bool = True) -> dict[str, int]:
    """Read the sample submission: {id: line of the file}, in the file's order."""
    if is_missing_file(path, faults):
        return {}
    try:
        lines = read_sample_ids(path, faults)
    except BadInput as error:
        faults += error.faults
        return {}
    id_faults = IdFaults(path, uuids)
    valid = {name: line for name, line in lines.items() if not id_faults.add(name, line)}
    faults += id_faults.summary(len(lines))
    return valid


# ------------------------------------------------------------------ any table


def valid_rows(path: Path, columns: list[str], faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every valid row; none where the file as a whole is faulty."""
    if is_missing_file(path, faults):
        return
    try:
        yield from read_rows(path, [columns], faults)
    except BadInput as error:
        faults += error.faults


def sorted_by_row(faults: list[Fault]) -> list[Fault]:
    """Faults in the order of their rows."""
    return sorted(faults, key=lambda fault: fault.row or 0)


def is_missing_file(path: Path, faults: list[Fault]) -> bool:
    """Whether a table does not exist, which is added to `faults`."""
    if not path.exists():
        fix = "download it from the competition's data page, or give its path"
        faults.append(Fault("missing", str(path), None, "is missing", fix))
    return not path.exists()


class IdFaults:
    """Faults of a table's ids; a single one where all ids have the same spelling, such as capital letters or .dcm."""

    def __init__(self, path: Path, uuids: bool = True):
        self.path, self.uuids = path, uuids
        self.faults: list[Fault] = []
        self.misspelled: list[tuple[int, str]] = []  # line and id, where the id contains a UUID

    def add(self, name: str, line: int) -> bool:
        """Record the id of a row; returns whether it is a fault."""
        if not self.uuids or UUID.fullmatch(name):
            return False
        what = f"the patientId {printable(name)} is not a lower-case UUID"
        fix = "write the image's id: its file name without .dcm"
        if uuid_in(name) != name:
            self.misspelled.append((line, name))
            fix = f"write {uuid_in(name)}"
        self.faults.append(Fault("id", str(self.path), line, what, fix))
        return True

    def summary(self, rows: int) -> list[Fault]:
        """The faults of a table with `rows` rows."""
        if not len(self.misspelled) == rows > 1:
            return self.faults
        line, name = self.misspelled[0]
        spelling = "in capital letters" if name.lower() == uuid_in(name) else f"spelled as {printable(name)}"
        fix = f"write {uuid_in(name)} for {printable(name)}, and so on"
        return [Fault("id", str(self.path), line, f"all its patientIds are {spelling}", fix)]


def uuid_in(name: str) -> str:
    """The lower-case UUID inside a text, as in a path or in capitals; the text itself where there is none."""
    inside = None if UUID.fullmatch(name) else UUID.search(name.lower())
    return inside[0] if inside else name
