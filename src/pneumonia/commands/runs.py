"""`./run.sh runs`: every run, its state and its held-out score."""

from pathlib import Path

from pneumonia import config, schema
from pneumonia.runs.run import Run
from pneumonia.runs.state import FINISHED, GOING, State, find_runs, state_of
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.files import read_json, sha256, write_json
from pneumonia.system.json_values import without_nan

SCORE_FILE = "score.json"  # in a run's folder: its score, and the checksum of the table that it is of


def runs(settings: schema.Runs) -> dict:
    """Print and return all runs, ordered by path.

    Raises:
        BadInput: there is no such folder.
    """
    root = config.user_path(settings.runs) if settings.runs else config.REPOSITORY / "runs"
    if settings.runs and not root.is_dir():
        raise bad_input(root, "there is no such folder", "give runs= a folder with runs in it")
    rows = []
    for run in find_runs(root):
        state = state_of(run, settings.verify)
        done = run.done() if state.name == FINISHED else {}
        score = score_of(run, done["kind"]) if done else None
        rows.append(
            {
                "run": run.folder,
                "state": state.name,
                "detail": state.detail,
                "epoch": state.epoch,
                "epochs": state.epochs,
                "kind": done.get("kind"),
                "score": score,
                "seconds": done.get("seconds"),
            }
        )
        print(line_of(root, run, state, done, score))
    if not rows:
        print("no run yet: ./run.sh fold=0 makes some")
    return without_nan({"runs": rows})


def line_of(root: Path, run: Run, state: State, done: dict, score: float | None) -> str:
    """A run as a line of text."""
    epochs = f"{state.epoch}/{'?' if state.epochs is None else state.epochs}"
    text = ""
    if state.name == FINISHED:
        name = "AUC" if done["kind"] == "classifier" else "IoU-mAP"
        text = f"{name} {score:.4f}" if score is not None else f"{name} not measurable"
    elif state.name == GOING and state.progress is not None:
        epoch, loss, speed, left = state.progress.cells
        text = f"epoch {epoch}, loss {loss}, {speed} images/s, {left} left"
    return f"{state.name:11s} {epochs:>9s} epochs  {text or state.detail:28s}  {run.folder.relative_to(root)}".rstrip()


def score_of(run: Run, kind: str) -> float | None:
    """A finished run's held-out score, as `evaluate` has it: AUC, or mean IoU-mAP at thresholds of other people.

    It is measured once for each table of predictions and kept in score.json.
    """
    file, table = run.folder / SCORE_FILE, run.table("oof", kind)
    if not table.exists():
        return None
    key = sha256(table)
    try:
        known = read_json(file)
        if known["table_sha256"] == key:
            return known["score"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    score = measure(run, kind)
    write_json(file, {"score": score, "table_sha256": key})
    return score


def measure(run: Run, kind: str) -> float | None:
    """The held-out score; None where it cannot be measured."""
    from pneumonia.metrics.auc import auc
    from pneumonia.metrics.iou_map import mean_of_counted
    from pneumonia.reports.held_out import read_held_out
    from pneumonia.reports.localizer import score_localizer
    from pneumonia.reports.numbers import json_number

    try:
        held_out = read_held_out(str(run.folder))
        if kind == "classifier":
            return json_number(auc(held_out.table["target"].to_numpy(), held_out.table["opacity"].to_numpy()))
        return json_number(mean_of_counted(score_localizer(held_out, seed=0).scores))
    except BadInput:
        return None
