"""The same jobs on this machine, on Ray, and on Ray with a worker killed: do they leave the same bits behind?

    PYTHONPATH=src .venv/bin/python benchmarks/executors.py [experiments=[yolov8_xs]] [epochs=3] [n_folds=5]

Runs the main job (`fold=all preset=smoke`, one epoch) and then `train fold=all` of each experiment for `epochs`, on
the demo, three times each: executor=local, executor=ray with a worker per core, and executor=ray with a worker killed
by SIGKILL as soon as a run has ended its first epoch. Each time in a copy of this program's own folder that has no
runs yet, with one thread per job. Weights, metrics.jsonl, every prediction table and the submission are compared with
the first time's, bit by bit; printed is what was killed when, and what its second process began with.

Measured on a busy 2-core AMD EPYC, `experiments=[mobilenetv2] n_folds=2 main_job=false`: 10 files, 0 bits differ on
Ray, and 0 with a worker killed 76 s after the start, fold 1 having its first checkpoint ("goes on after epoch 1/3");
90, 88 and 150 s. Earlier, the main job with five folds, its worker killed before the first checkpoint: 60 files of 15
runs and the submission, 0 differ; 765 to 998 s each.
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
COMPARED = (
    "runs/*/*/fold*/weights.safetensors", "runs/*/*/fold*/metrics.jsonl", "runs/*/*/fold*/*.csv",
    "submission/submission.csv",
)  # fmt: skip


@dataclass
class Settings:
    experiments: list[str] = field(default_factory=lambda: ["mobilenetv2", "mobilenet_unet", "yolov8_xs"])
    epochs: int = setting(3, "of every training; the main job's have one")
    n_folds: int = setting(5, "of the demo")
    main_job: bool = setting(True, "the main job too")


def works(settings: Settings) -> dict[str, tuple[str, ...]]:
    """What is done in every way: {name: command line}."""
    words = ("fold=all", f"n_folds={settings.n_folds}", "preset=smoke", "data=demo", "job_threads=1")
    trainings = {
        f"{name}, {settings.epochs} epochs": ("train", f"experiment={name}", f"epochs={settings.epochs}", *words)
        for name in settings.experiments
    }
    return ({"main job": (*words, "out=submission")} if settings.main_job else {}) | trainings


def copy_of(program: Path, folder: Path) -> Path:
    for part in ("src", "experiments"):
        shutil.copytree(program / part, folder / part)
    return folder


def start(root: Path, words: tuple[str, ...]) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(root / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (root / "log").open("w") as log:
        command = [sys.executable, "-P", "-m", "pneumonia", *words]
        return subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=root)


def kill_a_worker(process: subprocess.Popen, root: Path) -> tuple[Path, str] | None:
    """Kill the Ray worker of a run that has ended its first epoch, and with it its training process.

    Returns:
        The run's folder, and what the killed process had reached; None where no run could be caught.
    """
    started = time.monotonic()
    while process.poll() is None:
        for checkpoint in root.glob("runs/*/*/fold*/epoch-00001-*.safetensors"):
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
    """How the run's log says that its second process began."""
    _, *attempts = re.split(f"^{ATTEMPT}.*\n", (run / "train.log").read_text(), flags=re.MULTILINE)
    if len(attempts) != 2:
        raise SystemExit(f"{run} was trained by {len(attempts)} processes, not 2")
    return next((line for line in attempts[1].splitlines() if "goes on" in line), "it had its weights")


def compared(first: Path, second: Path) -> tuple[int, int]:
    """How many files there are, and how many bits differ."""
    files, others = ({f.relative_to(root) for p in COMPARED for f in root.glob(p)} for root in (first, second))
    if files != others:
        raise SystemExit(f"only in one of two: {', '.join(map(str, files ^ others))}")
    return len(files), sum(different_bits((first / f).read_bytes(), (second / f).read_bytes()) for f in files)


def different_bits(one: bytes, other: bytes) -> int:
    """Of two files; what one is longer than the other counts whole."""
    length = min(len(one), len(other))
    a, b = (np.frombuffer(content[:length], np.uint8) for content in (one, other))
    return int(np.bitwise_count(a ^ b).sum()) + 8 * abs(len(one) - len(other))


def main(settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        program = copy_of(REPOSITORY, Path(scratch) / "program")  # once: somebody may be editing it
        for work, (name, words) in enumerate(works(settings).items()):
            roots = []
            for way, executor in WAYS.items():
                root, started = copy_of(program, Path(scratch) / f"{work}-{len(roots)}"), time.monotonic()
                process = start(root, (*words, f"executor={executor}"))
                killed = kill_a_worker(process, root) if "killed" in way else None
                if process.wait():
                    print((root / "log").read_text()[-2000:])
                    raise SystemExit(f"{name}, {way}: exit code {process.returncode}")
                took = f"{time.monotonic() - started:.0f} s"
                roots.append(root)
                files, bits = compared(roots[0], root)
                differ = f", {bits} bits differ" if root is not roots[0] else ""
                print(f"{name}, {way}: {files} files{differ}; {took}", flush=True)
                if killed:
                    run, moment = killed
                    print(f"  killed: {run.relative_to(root)} {moment}\n  then: {second_process(run)}", flush=True)
                elif "killed" in way:
                    raise SystemExit(f"{name}: no worker could be killed between its run's first epoch and its end")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
