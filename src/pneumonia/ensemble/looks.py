"""submissions/final_looks.csv: every time that a submission was scored on the competition's final test labels.

Each look at these labels, after which another submission is made, fits the submissions to them a little. So the looks
are counted by family: submissions of the same ensemble on the same data, or fitted on the same members.
"""

import csv
import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pneumonia.boxes.predictions import Detections
from pneumonia.config import REPOSITORY
from pneumonia.ensemble import leaderboard
from pneumonia.metrics.auc import auc_interval
from pneumonia.metrics.intervals import DRAWS, Interval, mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.system.files import atomic_write, sha256
from pneumonia.system.json_values import without_nan

FINAL_SCORES = ["final_score", "final_low", "final_high"]
COLUMNS = ["date", "family", "submission", "sha256", *FINAL_SCORES]


def final_scores(
    file: Path,
    detections: Detections,
    truth: Truth,
    people: Mapping[str, str],
    family: str,
    probability: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict:
    """Score a submission on the final test labels, and write down that it was.

    Args:
        file: the submission, written before; detections: its content.
        family: of submissions, whose looks are counted.
        probability: (images,) a measure of how likely an opacity in the whole image is, in the order of `detections`;
            None: no AUC.

    Returns:
        final_score, final_low, final_high: with the 95 % interval over people. final_auc: {value, low, high} or None.
        final_family; final_looks: how many of its submissions were scored on these labels.
    """
    numbers = people_of(detections.ids, people)
    score = mean_interval(image_scores(truth, detections), numbers, draws, seed)
    auc = None
    if probability is not None:
        auc = dataclasses.asdict(auc_interval(truth.select(detections.ids).positive, probability, numbers, draws, seed))
    return without_nan(
        {
            "final_score": score.value,
            "final_low": score.low,
            "final_high": score.high,
            "final_auc": auc,
            "final_family": family,
            "final_looks": add_look(file, family, score),
        }
    )


def table() -> Path:
    """The table of looks, beside the leaderboard."""
    return leaderboard.TABLE.with_name("final_looks.csv")


def add_look(file: Path, family: str, score: Interval) -> int:
    """Write down that a submission was scored on the final test labels.

    Returns:
        How many different submissions of the family were, this one included.
    """
    values = (leaderboard.rounded_score(value) for value in (score.value, score.low, score.high))
    row = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "family": family,
        "submission": submission_name(file),
        "sha256": sha256(file),
        **dict(zip(FINAL_SCORES, values)),
    }
    with leaderboard.locked_table(table()):
        rows = [*leaderboard.read_table(table()), row]
        with atomic_write(table()) as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return count_looks(rows, family)


def count_looks(rows: list[dict[str, str]], family: str) -> int:
    """How many different submissions of a family were scored: the same file twice tells nothing new."""
    return len({row["sha256"] for row in rows if row["family"] == family})


def submission_name(file: Path) -> str:
    """A submission's name in the leaderboard: its folder, if it is the submission.csv of one."""
    file = Path(file).absolute()
    return leaderboard.name_of(file.parent if file.name == "submission.csv" else file)


def family_of(file: Path) -> str:
    """The family of a submission by the leaderboard; a file that is not in it is its own family."""
    name = submission_name(file)
    rows = leaderboard.read_table(leaderboard.TABLE)
    return next((row["family"] for row in rows if row["submission"] == name and row.get("family")), name)


@dataclass(frozen=True)
class FinalScores:
    """looks: how many submissions of the family were scored. scores: of FINAL_SCORES as texts; "" where not scored."""

    looks: int
    scores: dict[str, str]


def final_scores_of(rows: list[dict[str, str]]) -> list[FinalScores]:
    """The final scores of the leaderboard's rows; none where a submission has changed since it was scored."""
    looks = leaderboard.read_table(table())
    return [
        FinalScores(count_looks(looks, row.get("family") or row["submission"]), _scores(row, looks)) for row in rows
    ]


def _scores(row: Mapping[str, str], looks: list[dict[str, str]]) -> dict[str, str]:
    own = [look for look in looks if look["submission"] == row["submission"]]
    file = REPOSITORY / row["submission"] / "submission.csv"  # an absolute path stays itself
    if not own or not file.is_file() or own[-1]["sha256"] != sha256(file):
        return dict.fromkeys(FINAL_SCORES, "")
    return {name: own[-1][name] for name in FINAL_SCORES}
