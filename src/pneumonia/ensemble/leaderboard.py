"""submissions/leaderboard.csv: every submission made here, with the score that its procedure earned."""

import csv
import datetime
import io
import json
from pathlib import Path

from pneumonia.config import REPOSITORY
from pneumonia.ensemble.nested import Fitted
from pneumonia.system.csv_rows import read_text
from pneumonia.system.files import atomic_write, exclusive_lock
from pneumonia.system.json_values import without_nan

TABLE = REPOSITORY / "submissions" / "leaderboard.csv"
COLUMNS = ["submission", "date", "data", "nested_score", "low", "high", "fitted_score", "images", "members", "recipe"]


def record(folder: Path, fitted: Fitted, data: str, table: Path | None = None) -> None:
    """Put a submission's row into the table, in the place of an earlier one of the same folder.

    Args:
        folder: submissions/NAME, or anywhere. data: which images the score is of.
    """
    table = table or TABLE
    folder = Path(folder).absolute()
    name = folder.relative_to(REPOSITORY).as_posix() if folder.is_relative_to(REPOSITORY) else str(folder)
    added = {member: number(fitted.added[member].value) if member in fitted.added else None for member in names(fitted)}
    row = {
        "submission": name,
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "data": data,
        "nested_score": number(fitted.nested.value),
        "low": number(fitted.nested.low),
        "high": number(fitted.nested.high),
        "fitted_score": number(fitted.fitted_score),
        "images": "" if fitted.scores is None else len(fitted.scores),
        "members": json.dumps(added),
        "recipe": f"{name}/recipe.yaml",
    }
    with exclusive_lock(table.with_name(f".{table.name}.lock"), table.name, waits=True):  # for milliseconds
        rows = [each for each in read_table(table) if each["submission"] != name]
        with atomic_write(table) as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*rows, row])


def names(fitted: Fitted) -> list[str]:
    return [part.name for part in fitted.recipe.members]


def number(value: float) -> float | None:
    return without_nan(round(value, 6))


def shown(text: str) -> str:
    return f"{float(text):.4f}" if text else "-"


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_text(path)))) if path.exists() else []


def ranked(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rows, key=lambda row: (row["data"], -float(row["nested_score"] or -1)))
