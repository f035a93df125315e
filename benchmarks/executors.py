"""Run the same jobs on this machine, on Ray, and on Ray with a worker killed, and compare their files bit by bit.

    PYTHONPATH=src .venv/bin/python benchmarks/executors.py [experiments=[yolov8_xs]] [epochs=3] [n_folds=5]

It runs the main job (`fold=all preset=smoke`, one epoch) and then `train fold=all` of each experiment for `epochs`, on
the demo, three times each: with executor=local, with executor=ray with a worker per core, and with executor=ray with a
worker killed by SIGKILL as soon as a run has finished its first epoch; each time in a copy of this program without
runs, with one thread per job. Weights, metrics.jsonl, all prediction tables and the submission are compared with those
of executor=local. It prints what was killed when, and where the second process continued.

Measured on a busy 2-core AMD EPYC, `experiments=[mobilenetv2] n_folds=2 main_job=false`: 10 files, 0 bits differ on
Ray, and 0 with a worker killed 76 s after the start, when fold 1 had its first checkpoint ("goes on after epoch 1/3");
90, 88 and 150 s. In an earlier measurement of the main job with five folds, with a worker killed before the first
checkpoint: 60 files of 15 runs and the submission, 0 bits differ; 765 to 998 s each.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from pneumonia import config
from pneumonia.config import REPOSITORY
from pneumonia.jobs.process import ATTEMPT
from pneumonia.schema import setting

WAYS = {"local": "local", "ray": "ray", "ray, a worker killed": "ray"}
COMPARED = (  # ** as report/ experiments are one folder deeper
    "runs/**/fold*/weights.safetensors", "runs/**/fold*/metrics.jsonl", "runs/**/fold*/*.csv",
    "submission/submission.csv",
)  # fmt: skip


@dataclass
class Settings:
    experiments: list[str] = field(default_factory=lambda: ["mobilenetv2", "mobilenet_unet", "yolov8_xs"])
    epochs: int = setting(3, "of every training; those of the main job have one")
    n_folds: int = setting(5, "of the demo")
    main_job: bool = setting(True, "run the main job too")


def command_lines(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return {name: command line} of what is run on every executor."""
    args = ("fold=all", f"n_folds={settings.n_folds}", "preset=smoke", "data=demo", "job_threads=1")
    trainings = {
        f"{name}, {settings.epochs} epochs": ("train", f"experiment={name}", f"epochs={settings.epochs}", *args)
        for name in settings.experiments
    }
    return ({"main job": (*args, "out=submission")} if settings.main_job else {}) | trainings


def copy_program(program: Path, folder: Path) -> Path:
    for part in ("src", "experiments"):
        shutil.copytree(program / part, folder / part)
    return folder


def start(root: Path, args: tuple[str, ...]) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(root / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (root / "log").open("w") as log:
        command = [sys.executable, "-P", "-m", "pneumonia", *args]
        return subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=root)


def kill_a_worker(process: subprocess.Popen, root: Path) -> tuple[Path, str] | None:
    """Kill the Ray worker of a run that has finished its first epoch, and with it its training process.

    Returns:
        The run's folder, and what the killed process had reached; None if the jobs ended before a worker was killed.
    """
    started = time.monotonic()
    while process.poll() is None:
        for checkpoint in root.glob("runs/**/fold*/epoch-00001-*.safetensors"):
            run = checkpoint.parent
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                training = psutil.Process(int((run / "lock").read_text()))
                worker = training.parent()
                if "ray::" in worker.name():
                    worker.kill()
                    seconds = time.monotonic() - started
                    training.wait(30)
                    names = [file.name for file in run.glob("epoch-*")]
                    return run, f"after {seconds:.0f} s, with {', '.join(sorted(names))} there" + (
                        " and its weights" if (run / "weights.safetensors").exists() else ""
                    )
        time.sleep(0.01)
    return None


def second_process(run: Path) -> str:
    """Return the line of the run's log that says where its second process continued."""
    _, *attempts = re.split(f"^{ATTEMPT}.*\n", (run / "train.log").read_text(), flags=re.MULTILINE)
    if len(attempts) != 2:
        raise SystemExit(f"{run} was trained by {len(attempts)} processes, not 2")
    return next((line for line in attempts[1].splitlines() if "goes on" in line), "it had its weights")


def compare(first: Path, second: Path) -> tuple[int, int]:
    """Return the number of files, and the number of bits that differ."""
    files, others = ({f.relative_to(root) for p in COMPARED for f in root.glob(p)} for root in (first, second))
    if files != others:
        raise SystemExit(f"only in one of two folders: {', '.join(map(str, files ^ others))}")
    return len(files), sum(different_bits((first / f).read_bytes(), (second / f).read_bytes()) for f in files)


def different_bits(one: bytes, other: bytes) -> int:
    """Count the bits that differ between two files; all bits of the longer file's rest count."""
    length = min(len(one), len(other))
    a, b = (np.frombuffer(content[:length], np.uint8) for content in (one, other))
    return int(np.bitwise_count(a ^ b).sum()) + 8 * abs(len(one) - len(other))


def main(settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        program = copy_program(REPOSITORY, Path(scratch) / "program")  # one copy: the files may change meanwhile
        for number, (name, args) in enumerate(command_lines(settings).items()):
            roots = []
            for way, executor in WAYS.items():
                root, started = copy_program(program, Path(scratch) / f"{number}-{len(roots)}"), time.monotonic()
                process = start(root, (*args, f"executor={executor}"))
                killed = kill_a_worker(process, root) if "killed" in way else None
                if process.wait():
                    print((root / "log").read_text()[-2000:])
                    raise SystemExit(f"{name}, {way}: exit code {process.returncode}")
                seconds = time.monotonic() - started
                roots.append(root)
                files, bits = compare(roots[0], root)
                differ = f", {bits} bits differ" if root is not roots[0] else ""
                print(f"{name}, {way}: {files} files{differ}; {seconds:.0f} s", flush=True)
                if killed:
                    run, moment = killed
                    print(f"  killed: {run.relative_to(root)} {moment}\n  then: {second_process(run)}", flush=True)
                elif "killed" in way:
                    raise SystemExit(f"{name}: no worker could be killed between its run's first epoch and its end")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
