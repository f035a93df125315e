"""`./run.sh rerun`: trains a finished run again from the files in its folder, and compares the two bit by bit."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from pneumonia import config, schema
from pneumonia.boxes.predictions import read_classes, read_detections
from pneumonia.data.prepared import read_prepared
from pneumonia.jobs.job import job_environment, train_command
from pneumonia.runs.environment import differences
from pneumonia.runs.history import read_history
from pneumonia.runs.run import Run
from pneumonia.system.errors import EnvironmentFailure, bad_input
from pneumonia.system.files import read_json, sha256
from pneumonia.system.progress import say
from pneumonia.system.switches import ONEDNN

# keys of environment.json that may differ between two trainings of one run
COMPARED_KEYS = (
    *("python", "backend", "devices", "gpu", "cores", "threads", "precision", "processor", "onednn"),
    *("git_commit", "git_dirty", "packages", "learned_from"),
)


def rerun(settings: schema.Rerun) -> dict:
    """Train again, compare, and delete the second run.

    Returns:
        "same": whether all files have the same bits. "files": {name: same}. "changed": {environment key: [then, now]}.

    Raises:
        BadInput: the folder has no finished run.
        EnvironmentFailure: the run cannot be repeated: its data is missing or has changed, or its training fails.
    """
    folder = config.user_path(settings.run) if settings.run else Path()
    run = Run(folder)
    if not settings.run or not run.is_done:
        raise bad_input(settings.run or "run", "is not a finished run", "give run=runs/DATASET/EXPERIMENT/fold0")
    before = read_json(folder / "environment.json")
    check_data(run, before)
    # in the run's own folder, whose disk had enough space the first time
    out = Path(tempfile.mkdtemp(prefix=".rerun-", dir=folder.parent))
    try:
        link_other_runs(run, out)
        again = train_again(run, before, out)
        after = read_json(again.folder / "environment.json")
        then, now = (
            {key: environment[key] for key in COMPARED_KEYS if key in environment} for environment in (before, after)
        )
        result = {
            "files": {name: sha256(folder / name) == sha256(again.folder / name) for name in files_of(run)},
            "changed": differences(then, now),
        }
        result = {"same": all(result["files"].values()), **result}
        print(summary(run, again, result))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return result


def check_data(run: Run, before: dict) -> None:
    """Raises EnvironmentFailure where the run's data is missing or has changed."""
    try:
        now = read_prepared(run.start()["prepared"]).identity
    except EnvironmentFailure as error:
        raise EnvironmentFailure(f"the run cannot be repeated: {error}") from error
    for key, value in now.items():
        if before[key] != value:
            raise EnvironmentFailure(f"the run cannot be repeated: {key} was {before[key]} and is now {value}")


def train_again(run: Run, before: dict, out: Path) -> Run:
    """Train the run again under `out`, with the first time's backend, number of threads and oneDNN switch."""
    again = Run(out / run.folder.absolute().relative_to(run.dataset.parent.absolute()))
    again.folder.mkdir(parents=True)
    for name in (run.settings_file.name, "run.json"):
        shutil.copy(run.folder / name, again.folder / name)
    backend, threads = before["backend"], before["threads"]
    switches = {"KERAS_BACKEND": backend, "NPROC": str(threads)}  # NPROC: JAX's threads
    if before.get("onednn"):
        switches[ONEDNN] = before["onednn"]
    say(f"training again: {run.start()['title']}")
    code = subprocess.call(
        train_command(again.folder),
        env=job_environment(threads) | switches,
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    if code:
        raise EnvironmentFailure(f"the run could not be repeated (exit code {code}); the reason is above")
    return again


def link_other_runs(run: Run, out: Path) -> None:
    """Link the other experiments' runs, which this one may need (run:NAME, sampling.hard_from, pseudo_labels)."""
    report = run.dataset / "report"
    for other in (*run.dataset.glob("[!.]*"), *report.glob("[!.]*")):
        if other not in (run.folder.parent, report):
            link = out / other.relative_to(run.dataset.parent)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(other.absolute())


def files_of(run: Run) -> list[str]:
    """Names of the files to compare: weights, history, all prediction tables."""
    tables = [table["file"] for table in run.done()["tables"].values()]
    return [run.weights.name, "metrics.jsonl", *tables]


def summary(run: Run, again: Run, result: dict) -> str:
    lines = [f"{name:24s} {'the same bits' if same else 'differs'}" for name, same in result["files"].items()]
    if not result["same"]:
        lines.append(f"largest difference of a weight: {largest_difference(run, again):.3g}")
        lines += first_difference(read_history(run.folder), read_history(again.folder))
        tables = [name for name, same in result["files"].items() if not same and name.endswith(".csv")]
        lines += [f"{name}: {compare_tables(run.folder / name, again.folder / name)}" for name in tables]
    lines += [f"{key}: then {then}, now {now}" for key, (then, now) in result["changed"].items()]
    if not result["same"]:
        lines += other_causes(*(read_json(each.folder / "environment.json") for each in (run, again)))
    lines.append("repeated bit by bit" if result["same"] else "NOT repeated")
    return "\n".join(lines)


def other_causes(before: dict, now: dict) -> list[str]:
    """Possible causes of different bits that are in two environments without being different there."""
    dirty = " and ".join(word for word, each in (("then", before), ("now", now)) if each.get("git_dirty"))
    lines = [f"the source had uncommitted changes {dirty}"] if dirty else []
    for start in before.get("starts", []):
        if start["changed"]:
            changed = ", ".join(f"{key} {value}" for key, value in start["changed"].items())
            lines.append(f"the first training was interrupted, and continued at {start['time']} with {changed}")
    return lines


def largest_difference(run: Run, again: Run) -> float:
    before, now = load_file(run.weights), load_file(again.weights)
    pairs = ((before[name].astype(np.float64), now[name].astype(np.float64)) for name in before)
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs)


def compare_tables(before: Path, now: Path) -> str:
    """Say by how much two prediction tables of the same images differ."""
    if before.name.endswith("_classes.csv"):
        columns = zip(read_classes(before).columns(), read_classes(now).columns())
        largest = max(float(np.abs(a - b).max(initial=0.0)) for a, b in columns if a is not None)
        return f"probabilities differ by {largest:.3g} at most"
    then, now = read_detections(before), read_detections(now)
    images = [row for row in range(len(then)) if len(then.image(row)[1]) == len(now.image(row)[1])]
    pairs = [(then.image(row)[1], now.image(row)[1]) for row in images]
    largest = max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
    return (
        f"{len(then) - len(images)} of {len(then)} images have another number of boxes; "
        f"in the others confidences differ by {largest:.3g} at most"
    )


def first_difference(before: list[dict], now: list[dict]) -> list[str]:
    """A line on the first epoch whose history differs; empty where none does."""
    for then, again in zip(before, now):
        if then != again:
            return [f"first epoch that differs: {then['epoch']}, loss {then['loss']:.6f} then, {again['loss']:.6f} now"]
    return []
