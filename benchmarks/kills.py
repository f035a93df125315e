"""Kill trainings by SIGKILL at random moments, start them again, and compare their files bit by bit.

    PYTHONPATH=src .venv/bin/python benchmarks/kills.py [kills=10] [preset=smoke] [epochs=3] [seed=0]

Every experiment is trained on the demo once without interruption. Then it is trained again, killed at a random moment
between `earliest` of the whole run's time and its end, started by the same command, and killed again. The first kill of
each experiment waits for its weights, so that it interrupts its predictions. After `kills` kills the run may end. A run
that ends before its moment is compared like the others, and the next one begins in a new folder.

Weights, metrics.jsonl and all prediction tables are compared with the uninterrupted run. The exit code is 1 if a bit
differs. tests/training/test_survival.py does the same in small, and docs/results.md has its result; no result of this
program is recorded.
"""

import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pneumonia import config, schema
from pneumonia.data.competition import resolve
from pneumonia.jobs.job import job_environment
from pneumonia.runs.run import Run
from pneumonia.schema import setting

LONGEST = 3600.0  # seconds that a run may take to reach its predictions


@dataclass
class Settings:
    kills: int = setting(10, "kills of each experiment")
    experiments: list[str] = field(default_factory=lambda: ["mobilenetv2", "yolov8_xs"])
    data: str = setting("demo", "competition folder, or demo")
    preset: str = setting("smoke", "of the experiments and the demo")
    epochs: int = setting(3, "of every training")
    earliest: float = setting(0.2, "share of a run's time without a kill: there is nothing to lose yet")
    seed: int = setting(0, "of the random moments")


def start(settings: Settings, experiment: str, out: Path) -> subprocess.Popen:
    """Start the command `train`; its output goes to a file, since a pipe that is not read would block it."""
    changes = {"experiment": experiment, "data": settings.data, "preset": settings.preset, "epochs": settings.epochs}
    args = tuple(f"{key}={value}" for key, value in changes.items())
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "log", "ab") as log:
        command = (sys.executable, "-P", "-m", "pneumonia", "train", *args, f"out={out}")
        return subprocess.Popen(command, env=job_environment(), stdout=log, stderr=log)


def run_in(out: Path) -> Run | None:
    """Return the run under `out`, None before it has a folder. Runs of report/ experiments are one folder deeper."""
    folder = next(iter(out.glob("**/fold0")), None)
    return folder and Run(folder)


def wait_for_end(process: subprocess.Popen, out: Path) -> Run:
    """Wait for the process and return its run. Raises SystemExit with the log's end if it failed."""
    if process.wait():
        raise SystemExit(f"exit code {process.returncode}\n{(out / 'log').read_text()[-3000:]}")
    return run_in(out)


def stage(run: Run | None) -> str:
    """Describe what a killed process had reached, by the files that it left."""
    if run is None:
        return "before the run was begun"
    if run.weights.exists():
        tables = sorted(file.name for file in run.folder.glob("*_*.csv") if file.name != "held_out.csv")
        return f"predicting, after {', '.join(tables)}" if tables else "predicting"
    epochs = [int(file.name.split("-")[1]) for file in run.folder.glob("epoch-*.safetensors")]
    partial = ", a file partly written" if list(run.folder.glob(".*.tmp")) else ""
    return f"after epoch {max(epochs)}{partial}" if epochs else f"in epoch 1{partial}"


def wait_for_weights(process: subprocess.Popen, out: Path) -> None:
    deadline = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < deadline:
        run = run_in(out)
        if run and run.weights.exists():
            return
        time.sleep(0.01)


def different_bits(one: Path, other: Path) -> int:
    """Count the bits that differ between two files; all bits of the longer file's rest count."""
    a, b = (np.fromfile(path, np.uint8) for path in (one, other))
    common = min(len(a), len(b))
    return int(np.bitwise_count(a[:common] ^ b[:common]).sum()) + 8 * (max(len(a), len(b)) - common)


def compare(whole: Run, other: Run) -> dict[str, int]:
    """Return {file: bits that differ} of all files of a run that an interruption must not change."""
    tables = [table["file"] for table in whole.done()["tables"].values()]
    names = [whole.weights.name, "metrics.jsonl", *tables]
    return {name: different_bits(whole.folder / name, other.folder / name) for name in names}


def kill_and_compare(settings: Settings, experiment: str, scratch: Path) -> dict:
    """Print a line per kill; return the numbers of kills, runs, files and different bits."""
    draw = random.Random(f"{settings.seed} {experiment}")
    started = time.monotonic()
    whole = wait_for_end(start(settings, experiment, scratch / "whole"), scratch / "whole")
    seconds = time.monotonic() - started
    print(
        f"\n{experiment}: {seconds:.0f} s uninterrupted\n\n| kill | run | second | it had reached |\n|---|---|---|---|"
    )
    runs, kills, out = [], 0, scratch / "0"
    while kills < settings.kills:
        started, process = time.monotonic(), start(settings, experiment, out)
        moment = draw.uniform(settings.earliest, 1.0) * seconds
        try:
            if kills == 0:
                wait_for_weights(process, out)
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
        finally:
            process.kill()
        if process.wait() == 0:  # it ended before its moment
            runs.append(run_in(out))
            out = scratch / str(len(runs))
            continue
        if process.returncode != -signal.SIGKILL:
            wait_for_end(process, out)  # raises with the log's end
        kills += 1
        print(f"| {kills} | {len(runs) + 1} | {time.monotonic() - started:.1f} | {stage(run_in(out))} |", flush=True)
    runs.append(wait_for_end(start(settings, experiment, out), out))
    differences = [compare(whole, run) for run in runs]
    for name in sorted({name for difference in differences for name, bits in difference.items() if bits}):
        print(f"{experiment}: {name} differs")
    bits = sum(sum(difference.values()) for difference in differences)
    return {"kills": kills, "runs": len(runs), "files": sum(map(len, differences)), "bits": bits}


def main(settings: Settings) -> None:
    totals = {}
    resolve(schema.Job(data=settings.data, preset=settings.preset))  # the demo is made before anything is timed
    with tempfile.TemporaryDirectory() as scratch:
        for experiment in settings.experiments:
            totals[experiment] = kill_and_compare(settings, experiment, Path(scratch) / experiment)
    print(
        "\n| experiment | processes killed | runs compared | files compared | bits that differ |\n|---|---|---|---|---|"
    )
    for experiment, total in totals.items():
        print(f"| {experiment} | {total['kills']} | {total['runs']} | {total['files']} | {total['bits']} |")
    print(json.dumps(totals))
    raise SystemExit(int(any(total["bits"] for total in totals.values())))


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
