"""`./run.sh rerun`: a finished run once more, from what lies in its folder, compared bit by bit with the first time."""

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

# of environment.json: what may differ without anybody having changed the run
TOLD = ("python", "backend", "devices", "gpu", "cores", "threads", "precision", "processor", "git_commit", "git_dirty",
        "packages", "learned_from")  # fmt: skip


def rerun(settings: schema.Rerun) -> dict:
    """Returns {"same": whether every file has the same bits, "files": {name: same}, "changed": {what: [then, now]}}.

    Raises:
        BadInput: no finished run there.
        EnvironmentFailure: it cannot be repeated: its data is gone or has changed, or the machine cannot.
    """
    folder = config.user_path(settings.run) if settings.run else Path()
    run = Run(folder)
    if not settings.run or not run.is_done:
        raise bad_input(settings.run or "run", "is no finished run", "give run=runs/DATASET/EXPERIMENT/fold0")
    before = read_json(folder / "environment.json")
    refuse_other_data(run, before)
    # on the run's own disk, where there was room for it once
    out = Path(tempfile.mkdtemp(prefix=".rerun-", dir=folder.parent))
    try:
        link_others(run, out)
        again = repeated(run, before, out)
        now = read_json(again.folder / "environment.json")
        then, now = ({key: each[key] for key in TOLD if key in each} for each in (before, now))
        result = {
            "files": {name: is_same(folder / name, again.folder / name) for name in files_of(run)},
            "changed": differences(then, now),
        }
        result = {"same": all(result["files"].values()), **result}
        print(summary(run, again, result))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return result


def is_same(before: Path, now: Path) -> bool:
    return sha256(before) == sha256(now)


def refuse_other_data(run: Run, before: dict) -> None:
    """Raises EnvironmentFailure, before anything is trained, where the data is gone or is not what the run had."""
    try:
        now = read_prepared(run.start()["prepared"]).identity
    except EnvironmentFailure as error:
        raise EnvironmentFailure(f"the run cannot be repeated: {error}") from error
    for key, value in now.items():
        if before[key] != value:
            raise EnvironmentFailure(f"the run cannot be repeated: {key} was {before[key]} and is now {value}")


def repeated(run: Run, before: dict, out: Path) -> Run:
    """Train the run again under `out`, with the same backend and as many threads as the first time."""
    again = Run(out / run.folder.absolute().relative_to(run.dataset.parent.absolute()))
    again.folder.mkdir(parents=True)
    for name in (run.settings_file.name, "run.json"):
        shutil.copy(run.folder / name, again.folder / name)
    backend, threads = before["backend"], before["threads"]
    say(f"training again: {run.start()['title']}")
    ended = subprocess.run(
        train_command(again.folder),
        env=job_environment(threads) | {"KERAS_BACKEND": backend, "NPROC": str(threads)},  # NPROC: JAX's threads
        stdout=sys.stderr,
        stderr=sys.stderr,
        check=False,
    )
    if ended.returncode:
        raise EnvironmentFailure(f"the run could not be repeated (exit code {ended.returncode}); why is said above")
    return again


def link_others(run: Run, out: Path) -> None:
    """The other experiments' runs, which this one may have learned from (run:EXPERIMENT, sampling.hard_from)."""
    report = run.dataset / "report"
    for other in (*run.dataset.glob("[!.]*"), *report.glob("[!.]*")):
        if other not in (run.folder.parent, report):
            link = out / other.relative_to(run.dataset.parent)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(other.absolute())


def files_of(run: Run) -> list[str]:
    """Names of the files that a repetition must reproduce: weights, history, every prediction table."""
    tables = [table["file"] for table in run.done()["tables"].values()]
    return [run.weights.name, "metrics.jsonl", *tables]


def summary(run: Run, again: Run, result: dict) -> str:
    lines = [f"{name:24s} {'the same bits' if same else 'differs'}" for name, same in result["files"].items()]
    if not result["same"]:
        lines.append(f"largest difference of a weight: {largest_difference(run, again):.3g}")
        lines += epochs_that_differ(read_history(run.folder), read_history(again.folder))
        tables = [name for name, same in result["files"].items() if not same and name.endswith(".csv")]
        lines += [f"{name}: {tables_apart(run.folder / name, again.folder / name)}" for name in tables]
    lines += [f"then {then}, now {now}: {key}" for key, (then, now) in result["changed"].items()]
    if not result["same"]:
        lines += what_else(*(read_json(each.folder / "environment.json") for each in (run, again)))
    lines.append("repeated bit by bit" if result["same"] else "NOT repeated")
    return "\n".join(lines)


def what_else(before: dict, now: dict) -> list[str]:
    """Of two environments, what may explain a difference and is no difference between them."""
    edited = " and ".join(word for word, each in (("then", before), ("now", now)) if each.get("git_dirty"))
    lines = [f"the source had changes {edited} that git_commit does not name"] if edited else []
    for start in before.get("starts", []):
        if start["changed"]:
            changed = ", ".join(f"{key} {value}" for key, value in start["changed"].items())
            lines.append(f"it was interrupted then, and went on at {start['time']} with {changed}")
    return lines


def largest_difference(run: Run, again: Run) -> float:
    one, other = load_file(run.weights), load_file(again.weights)
    pairs = ((one[name].astype(np.float64), other[name].astype(np.float64)) for name in one)
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs)


def tables_apart(before: Path, now: Path) -> str:
    """By how much two prediction tables of the same images differ."""
    if before.name.endswith("_classes.csv"):
        columns = zip(read_classes(before).columns(), read_classes(now).columns())
        apart = max(float(np.abs(a - b).max(initial=0.0)) for a, b in columns if a is not None)
        return f"probabilities differ by {apart:.3g} at most"
    one, other = read_detections(before), read_detections(now)
    images = [row for row in range(len(one)) if len(one.image(row)[1]) == len(other.image(row)[1])]
    pairs = [(one.image(row)[1], other.image(row)[1]) for row in images]
    apart = max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
    return (
        f"{len(one) - len(images)} of {len(one)} images have another number of boxes, "
        f"in the others confidences differ by {apart:.3g} at most"
    )


def epochs_that_differ(before: list[dict], now: list[dict]) -> list[str]:
    for one, other in zip(before, now):
        if one != other:
            return [f"first epoch that differs: {one['epoch']}, loss {one['loss']:.6f} then, {other['loss']:.6f} now"]
    return []
