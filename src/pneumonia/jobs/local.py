"""(experiment, fold) jobs on this machine: a process each, as many at once as there are GPUs, or one on a CPU.

A process of its own for each, because TensorFlow keeps GPU memory until its process ends. Each sees only its GPU. A
job that fails does not stop the others.
"""

import os
import queue
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pneumonia.errors import BadSurroundings
from pneumonia.progress import say


class TrainJob(NamedTuple):
    """One run to train: its name for people, and the words after `./run.sh train`."""

    title: str
    words: tuple[str, ...]


def run_all(jobs: Sequence[TrainJob]) -> None:
    """Run every job to its end.

    Raises:
        BadSurroundings: jobs failed; each has already said why on stderr.
    """
    gpus: queue.Queue[str] = queue.Queue()
    names = gpu_names()
    for name in names or [""]:
        gpus.put(name)

    def run(job: TrainJob) -> int:
        gpu = gpus.get()
        try:
            return subprocess.run(command(job), env=environment(gpu), stdout=sys.stderr, check=False).returncode
        finally:
            gpus.put(gpu)

    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        try:
            codes = list(pool.map(run, jobs))
        except BaseException:  # Ctrl-C has reached the running jobs too; those that wait must not start now
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    failed = [f"{job.title} (exit code {code})" for job, code in zip(jobs, codes) if code]
    for title in failed:
        say(f"failed: {title}")
    if failed:
        raise BadSurroundings(f"{len(failed)} of {len(jobs)} jobs failed: {', '.join(failed)}; why is said above")


def command(job: TrainJob) -> list[str]:
    return [sys.executable, "-P", "-m", "pneumonia", "train", *job.words]


def environment(gpu: str) -> dict[str, str]:
    return os.environ | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})


def gpu_names() -> list[str]:
    """Identifiers of this machine's NVIDIA GPUs that CUDA_VISIBLE_DEVICES lets through; empty where there are none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return [str(index) for index in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]
