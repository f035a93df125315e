"""submissions/leaderboard.csv: every submission made here, with its nested score, and Kaggle's where it was sent."""

import csv
import datetime
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pneumonia.config import REPOSITORY
from pneumonia.system.csv_rows import read_text
from pneumonia.system.files import atomic_write, exclusive_lock, read_json, sha256
from pneumonia.system.json_values import without_nan

if TYPE_CHECKING:  # the leaderboard is read without what a fit needs
    from pneumonia.ensemble.nested import FitResult

TABLE = REPOSITORY / "submissions" / "leaderboard.csv"
KAGGLE_SCORES = ["public_score", "private_score"]
COLUMNS = [
    "submission", "date", "data", "nested_score", "low", "high", "fitted_score", "images", "members", "recipe",
    *KAGGLE_SCORES, "family",
]  # fmt: skip
KAGGLE = "kaggle.json"  # in a submission's folder: what `submit` has sent, and its scores


def add_submission(folder: Path, fitted: "FitResult", data: str, family: str, table: Path | None = None) -> None:
    """Add a submission's row to the table, or replace the row of the same folder.

    Args:
        folder: the submission's, in the repository or elsewhere.
        data: which images the score is of.
        family: of submissions that differ in settings only; looks at the final test labels are counted by it.
    """
    table = table or TABLE
    folder = Path(folder).absolute()
    name = name_of(folder)
    members = [member.name for member in fitted.recipe.members]
    gains = {
        member: rounded_score(fitted.gains[member].value) if member in fitted.gains else None for member in members
    }
    row = {
        "submission": name,
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "data": data,
        "nested_score": rounded_score(fitted.nested.value),
        "low": rounded_score(fitted.nested.low),
        "high": rounded_score(fitted.nested.high),
        "fitted_score": rounded_score(fitted.fitted_score),
        "images": "" if fitted.scores is None else len(fitted.scores),
        "members": json.dumps(gains),
        "recipe": f"{name}/recipe.yaml",
        **kaggle_scores(folder),
        "family": family,
    }
    with locked_table(table):
        write_table(table, [*(other for other in read_table(table) if other["submission"] != name), row])


def add_kaggle_scores(folder: Path, table: Path | None = None) -> bool:
    """Copy Kaggle's scores to the submission's row; returns whether there is one."""
    table = table or TABLE
    name = name_of(Path(folder).absolute())
    with locked_table(table):
        rows = read_table(table)
        own = [row for row in rows if row["submission"] == name]
        for row in own:
            row.update(kaggle_scores(folder))
        if own:
            write_table(table, rows)
    return bool(own)


def kaggle_scores(folder: Path) -> dict:
    """Kaggle's scores of a folder's submission.csv; none where that has changed since it was sent."""
    sent, file = Path(folder) / KAGGLE, Path(folder) / "submission.csv"
    if not sent.is_file() or not file.is_file():
        return {}
    record = read_json(sent)
    return {name: record.get(name) for name in KAGGLE_SCORES} if record["sha256"] == sha256(file) else {}


def name_of(folder: Path) -> str:
    """The folder's path, in the repository without the repository's."""
    return folder.relative_to(REPOSITORY).as_posix() if folder.is_relative_to(REPOSITORY) else str(folder)


def locked_table(table: Path):
    """One process at a time changes the table, for milliseconds."""
    return exclusive_lock(table.with_name(f".{table.name}.lock"), table.name, waits=True)


def write_table(table: Path, rows: list[dict]) -> None:
    with atomic_write(table) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def rounded_score(value: float) -> float | None:
    return without_nan(round(value, 6))


def score_text(text: str | None) -> str:
    return f"{float(text):.4f}" if text else "-"


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_text(path)))) if path.exists() else []


def sort_by_score(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Sort by data, then by nested score, best first."""
    return sorted(rows, key=lambda row: (row["data"], -float(row["nested_score"] or -1)))
