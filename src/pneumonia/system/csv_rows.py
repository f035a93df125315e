"""Rows of the CSV tables: read strictly, every fault with its line and its fix."""

import csv
from collections.abc import Iterator
from pathlib import Path

from pneumonia.system.errors import Fault, bad_input

FAULTS_SHOWN = 100  # of one file; the rest is counted in the last line


def read_rows(path: str | Path, headers: list[list[str]], faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of every row with the right number of cells and an id; faults go to the list.

    A line is a row: the csv module reads only lines that have quotes, so that a cell may be longer than its limit.

    Raises:
        BadInput: the file cannot be read at all, or its header is none of `headers`.
    """
    text = read_text(path)
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    header = lines[0].rstrip("\r") if lines else ""
    names = next((names for names in headers if header == ",".join(names)), None)
    if names is None:
        wanted = " or ".join(",".join(names) for names in headers)
        raise bad_input(path, f"the header is '{header[:80]}'", f"the first line must be {wanted}", 1, "header")
    for number, line in enumerate(lines[1:], 2):
        line = line.removesuffix("\r")
        cells = next(csv.reader([line]), []) if '"' in line else line.split(",")
        if len(cells) != len(names):
            what = f"{len(cells) if line else 0} cells, not {len(names)}"
            faults.append(Fault("cells", str(path), number, what, f"a row is {','.join(names)}"))
        elif not cells[0].strip():
            faults.append(Fault("no-id", str(path), number, "the patientId is empty", "write the image's id"))
        else:
            yield number, cells


def read_text(path: str | Path) -> str:
    """Raises BadInput for a file that is not there, is no UTF-8, or begins with a byte order mark."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise bad_input(path, f"cannot be read: {error.strerror}", "give the path of a CSV file") from error
    if content.startswith(b"\xef\xbb\xbf"):
        raise bad_input(path, "begins with a byte order mark", "save it as UTF-8 without BOM", 1, "bom")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise bad_input(path, "is no UTF-8 text", "save it as UTF-8 CSV", row, "encoding") from error


def duplicate(name: str, line: int) -> tuple[str, str]:
    return f"{name} was already in row {line}", "keep one row per image, all its boxes in one PredictionString"


def shortened(faults: list[Fault], path: str | Path) -> list[Fault]:
    """The first faults and the number of the others: a file that is wrong throughout must not fill the screen."""
    if len(faults) <= FAULTS_SHOWN:
        return faults
    rest = len(faults) - FAULTS_SHOWN
    more = Fault("more", str(path), None, f"{rest} further faults", "`validate` lists them all")
    return [*faults[:FAULTS_SHOWN], more]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(letter in name for letter in ',"') else name
