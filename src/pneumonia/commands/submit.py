"""`./run.sh submit`: sends a submission to Kaggle, waits for its score, and writes it into the leaderboard."""

import datetime
import time
from pathlib import Path

from pneumonia import config, schema
from pneumonia.boxes.submission import validate
from pneumonia.commands.submission_names import TABLE, submission_file
from pneumonia.ensemble import leaderboard
from pneumonia.reports.numbers import number_text
from pneumonia.system import kaggle
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.files import read_json, sha256, write_json
from pneumonia.system.progress import say

POLL = 5.0  # seconds between two questions for the score


def submit(settings: schema.Submit) -> dict:
    """Send what has not been sent yet, and wait for its score.

    kaggle.json beside the file keeps what was sent: the same file is never sent twice, and a call after an interruption
    waits on for the score of the first.

    Returns:
        submission (the file), ref (its number at Kaggle), public_score and private_score (None where not known),
        local_score (held out, None where there is none), in_leaderboard.

    Raises:
        BadInput: no such file, not a valid submission, or one of the demo.
        EnvironmentFailure: no token, rules not accepted, no submission left today, Kaggle could not score it.
    """
    file = submission_file(settings.submission)
    record_file = file.with_name(leaderboard.KAGGLE if file.name == TABLE else f"{file.name}.{leaderboard.KAGGLE}")
    result_file = file.parent / "result.json"
    result = read_json(result_file) if file.name == TABLE and result_file.is_file() else {}
    check_submission(file, result, settings.sample)
    record = read_json(record_file) if record_file.is_file() else {}
    if record.get("sha256") != sha256(file):
        record = send(file, settings.message or default_message(file, result), record_file)
    else:
        say(f"{file}: was sent to Kaggle on {record['date'][:10]}, as number {record['ref']}")
    if record["private_score"] is None and record["public_score"] is None:
        record |= wait_for_score(record["ref"], settings.wait)
        write_json(record_file, record)
    in_leaderboard = file.name == TABLE and leaderboard.add_kaggle_scores(file.parent)
    local = result.get("held_out_score")
    print_scores(record, local, in_leaderboard)
    scores = {name: record[name] for name in leaderboard.KAGGLE_SCORES}
    return {
        "submission": file, "ref": record["ref"], **scores, "local_score": local, "in_leaderboard": in_leaderboard
    }  # fmt: skip


def check_submission(file: Path, result: dict, sample: str) -> None:
    """Raises BadInput for a file that Kaggle would refuse, or that is of the demo."""
    if result.get("dataset", "").rpartition("-")[0] == "demo":
        raise bad_input(file, "is of the synthetic demo", "give a submission for the competition's test images")
    if not sample:
        say("without sample= it is not known whether the file lists the competition's test images")
    faults = validate(file, config.user_path(sample) if sample else None)
    if faults:
        raise BadInput(faults)


def default_message(file: Path, result: dict) -> str:
    score = result.get("held_out_score")
    name = file.parent.name if file.name == TABLE else file.stem
    return name if score is None else f"{name}, held-out score {score:.4f}"


def send(file: Path, message: str, record_file: Path) -> dict:
    """Send the file, and write down at once what was sent."""
    checksum = sha256(file)
    ref = kaggle.send_submission(file, message)
    date = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    record = {"ref": ref, "date": date, "message": message, "sha256": checksum}
    record |= dict.fromkeys(leaderboard.KAGGLE_SCORES)
    write_json(record_file, record)
    say(f"{file}: sent to Kaggle, as number {ref}")
    return record


def wait_for_score(ref: int, seconds: float) -> dict:
    """Ask until the score is there; {} after `seconds`. A question that fails for the moment is asked again."""
    end = time.monotonic() + seconds
    while True:
        try:
            scores = kaggle.submission_score(ref)
            if scores is not None:
                return scores
        except kaggle.TemporaryFailure as error:
            say(str(error))
        if time.monotonic() >= end:
            say(f"there is no score after {seconds:.0f} s: the same command asks again, and sends nothing")
            return {}
        time.sleep(min(POLL, max(0.0, end - time.monotonic())))


def print_scores(record: dict, local: float | None, in_leaderboard: bool) -> None:
    print(f"{'private':16s} {number_text(record['private_score'])}   (on most test images: the final score)")
    print(f"{'public':16s} {number_text(record['public_score'])}")
    print(f"{'held out here':16s} {number_text(local)}")
    if not in_leaderboard:
        print("the leaderboard has no row of it: it was not made here")
