"""Trainings killed by SIGKILL at random moments, through the whole command line: do they end with the same bits?

    PYTHONPATH=src .venv/bin/python benchmarks/kills.py [kills=10] [preset=smoke] [epochs=3] [seed=0]

Every experiment is trained on the demo once from end to end, and then again and again: killed at a moment drawn
between `earliest` of the whole run's time and its end, started by the same command, killed again. The first kill of
each experiment waits until its weights are there and so falls on its predictions. When `kills` processes of an
experiment have been killed, it is left to end. A run that was done before its moment came is compared like the others
and the next one begins in a new folder.

Compared with the uninterrupted run: weights, metrics.jsonl and every prediction table, bit by bit.
tests/training/test_survival.py is the same, small; this prints every moment.
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
    kills: int = setting(10, "of each experiment")
    experiments: list[str] = field(default_factory=lambda: ["mobilenetv2", "yolov8_xs"])
    data: str = setting("demo", "competition folder, or demo")
    preset: str = setting("smoke", "of the experiments and the demo")
    epochs: int = setting(3, "of every training")
    earliest: float = setting(0.2, "share of a run's time before which no kill falls: nothing is there to be lost")
    seed: int = setting(0, "of the moments")


def start(settings: Settings, experiment: str, out: Path) -> subprocess.Popen:
    """The command a person would give; its words to a file, because nobody reads a pipe of a process that waits."""
    wanted = {"experiment": experiment, "data": settings.data, "preset": settings.preset, "epochs": settings.epochs}
    words = tuple(f"{key}={value}" for key, value in wanted.items())
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "log", "ab") as log:
        command = (sys.executable, "-P", "-m", "pneumonia", "train", *words, f"out={out}")
        return subprocess.Popen(command, env=job_environment(), stdout=log, stderr=log)


def run_in(out: Path) -> Run | None:
    """The run under `out`, which may not have been begun."""
    begun = next(iter(out.glob("*/*/fold0")), None)
    return begun and Run(begun)


def finished(process: subprocess.Popen, out: Path) -> Run:
    """Raises SystemExit with the log's end where the process failed."""
    if process.wait():
        raise SystemExit(f"exit code {process.returncode}\n{(out / 'log').read_text()[-3000:]}")
    return run_in(out)


def stage(run: Run | None) -> str:
    """What a killed process had reached, by what it left behind."""
    if run is None:
        return "before the run was begun"
    if run.weights.exists():
        tables = sorted(file.name for file in run.folder.glob("*_*.csv") if file.name != "held_out.csv")
        return f"predicting, after {', '.join(tables)}" if tables else "predicting"
    epochs = [int(file.name.split("-")[1]) for file in run.folder.glob("epoch-*.safetensors")]
    half = ", a file half written" if list(run.folder.glob(".*.tmp")) else ""
    return f"after epoch {max(epochs)}{half}" if epochs else f"in epoch 1{half}"


def wait_for_weights(process: subprocess.Popen, out: Path) -> None:
    ends = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < ends:
        run = run_in(out)
        if run and run.weights.exists():
            return
        time.sleep(0.01)


def different_bits(one: Path, other: Path) -> int:
    """Bits that differ, those counted too by which one file is longer."""
    a, b = (np.fromfile(path, np.uint8) for path in (one, other))
    common = min(len(a), len(b))
    return int(np.bitwise_count(a[:common] ^ b[:common]).sum()) + 8 * (max(len(a), len(b)) - common)


def compared(whole: Run, other: Run) -> dict[str, int]:
    """{file: bits that differ} of everything a run leaves behind that an interruption must not change."""
    tables = [each["file"] for each in whole.done()["tables"].values()]
    names = [whole.weights.name, "metrics.jsonl", *tables]
    return {name: different_bits(whole.folder / name, other.folder / name) for name in names}


def killed_and_compared(settings: Settings, experiment: str, scratch: Path) -> dict:
    """Print a line per kill; returns how many kills, runs, files and bits there were."""
    draw = random.Random(f"{settings.seed} {experiment}")
    began = time.monotonic()
    whole = finished(start(settings, experiment, scratch / "whole"), scratch / "whole")
    seconds = time.monotonic() - began
    print(
        f"\n{experiment}: {seconds:.0f} s uninterrupted\n\n| kill | run | second | it had reached |\n|---|---|---|---|"
    )
    done, kills, out = [], 0, scratch / "0"
    while kills < settings.kills:
        began, process = time.monotonic(), start(settings, experiment, out)
        moment = draw.uniform(settings.earliest, 1.0) * seconds
        try:
            if kills == 0:
                wait_for_weights(process, out)
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
        finally:
            process.kill()
        if process.wait() == 0:  # done before its moment came
            done.append(run_in(out))
            out = scratch / str(len(done))
            continue
        if process.returncode != -signal.SIGKILL:
            finished(process, out)  # says why
        kills += 1
        print(f"| {kills} | {len(done) + 1} | {time.monotonic() - began:.1f} | {stage(run_in(out))} |", flush=True)
    done.append(finished(start(settings, experiment, out), out))
    differences = [compared(whole, run) for run in done]
    for name in sorted({name for each in differences for name, bits in each.items() if bits}):
        print(f"{experiment}: {name} differs")
    bits = sum(sum(each.values()) for each in differences)
    return {"kills": kills, "runs": len(done), "files": sum(map(len, differences)), "bits": bits}


def main(settings: Settings) -> None:
    totals = {}
    resolve(schema.Job(data=settings.data, preset=settings.preset))  # the demo is made before anything is timed
    with tempfile.TemporaryDirectory() as scratch:
        for experiment in settings.experiments:
            totals[experiment] = killed_and_compared(settings, experiment, Path(scratch) / experiment)
    print(
        "\n| experiment | processes killed | runs compared | files compared | bits that differ |\n|---|---|---|---|---|"
    )
    for experiment, total in totals.items():
        print(f"| {experiment} | {total['kills']} | {total['runs']} | {total['files']} | {total['bits']} |")
    print(json.dumps(totals))
    raise SystemExit(int(any(total["bits"] for total in totals.values())))


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
