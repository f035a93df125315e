"""Image ids: read lists of ids, and explain how two spellings of the same ids differ."""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from pneumonia.system.csv_rows import SEPARATORS, printable, read_rows, read_text, split_cells
from pneumonia.system.errors import Fault, bad_input

SAMPLE_COLUMNS = ["patientId", "PredictionString"]
STAGE_1 = "stage1"  # a setting's value that stands for the first stage's test images
STAGE_1_FILES = ("stage_1_test_ids.csv", "stage_1_test_ids.txt", "stage_1_sample_submission.csv")

SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("a folder before the name", lambda name: re.split(r"[/\\]", name)[-1]),
    ("spaces or quotes", lambda name: name.strip(" \t'\"{}").replace(" ", "")),
    ("the ending of a file", lambda name: re.sub(r"\.(dcm|dicom|png|jpe?g)$", "", name, flags=re.IGNORECASE)),
    ("capital letters", str.lower),
    ("dashes", lambda name: name.replace("-", "").replace("_", "")),
)


def read_ids(path: Path) -> list[str]:
    """Read a list of ids: one per line, or the first column of a table; without repeats, in the file's order.

    A header (patientId) and further columns are ignored.

    Raises:
        BadInput: the file does not exist, has no ids, an open quote, or columns not separated by commas.
    """
    ids: dict[str, None] = {}
    for row, line in enumerate(read_text(path).split("\n"), 1):
        cells = split_cells(line)
        if cells is None:
            raise bad_input(path, "a quote is opened and not closed", "close it or remove it", row, "open-quote")
        word = next((word for separator, word in SEPARATORS.items() if separator in cells[0]), None)
        if word:
            raise bad_input(path, f"its columns are separated by {word}", "save it with commas", row, "separator")
        if row == 1 and "patientId" in cells[1:]:
            what = f"its first column is {printable(cells[0])}, not patientId"
            raise bad_input(path, what, "write the ids first (pandas: index=False)", 1, "index-column")
        if cells[0] and not (row == 1 and cells[0].lower() == "patientid"):
            ids.setdefault(cells[0])
    if not ids:
        raise bad_input(path, "has no image ids", "write one patientId per line")
    return list(ids)


def ids_file(text: str, folder: Path, key: str) -> Path:
    """The file that holdout= or tune_on= means; `stage1`: the first stage's file in `folder`. Raises BadInput."""
    if text != STAGE_1:
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            raise bad_input(path, "there is no such file", f"give {key}= a file of ids, one per line, or {STAGE_1}")
        return path
    path = next((folder / name for name in STAGE_1_FILES if (folder / name).is_file()), None)
    if path is None:
        fix = f"put one of them there, or give {key}=FILE, one id per line"
        raise bad_input(folder, f"has none of {', '.join(STAGE_1_FILES)}", fix)
    return path


def read_sample_ids(path: Path | str, faults: list[Fault]) -> dict[str, int]:
    """Read the sample submission: {id: line of the file}, in the file's order; its boxes are ignored.

    Raises:
        BadInput: the file cannot be read, or has other columns.
    """
    lines: dict[str, int] = {}
    for line, (name, _) in read_rows(path, [SAMPLE_COLUMNS], faults):
        if name in lines:
            what = f"{name} was already in row {lines[name]}"
            faults.append(Fault("repeat", str(path), line, what, "remove this row: a submission has one per image"))
        else:
            lines[name] = line
    return lines


def spelling_difference(names: Iterable[str], known: Collection[str]) -> str:
    """Explain why ids do not match, for a message: '; X here is Y there: they differ in capital letters'; '' if no two
    are similar.

    Args:
        names: ids that are not in `known`; the message shows the first that has a counterpart there.
    """
    counterpart = {normalise(name): name for name in known}
    for name in names:
        other = counterpart.get(normalise(name))
        if other is not None and other != name:
            steps = [step for step, _ in SPELLINGS if normalise(name, step) != normalise(other, step)]
            difference = " and ".join(steps) or "spelling"
            return f"; {printable(name)} here is {printable(other)} there: they differ in {difference}"
    return ""


def normalise(name: str, skip: str = "") -> str:
    """An id in a normalised spelling; `skip` names a step of SPELLINGS to leave out."""
    for what, step in SPELLINGS:
        name = name if what == skip else step(name)
    return name
