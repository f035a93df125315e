"""Jobs on this machine: a process each, as many at once as its GPUs allow, or one on a CPU.

A process of its own for each, because TensorFlow keeps GPU memory until its process ends. Each sees only its GPUs.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from pneumonia.jobs import process
from pneumonia.jobs.job import Outcome, TrainJob
from pneumonia.jobs.job_table import JobTable
from pneumonia.system import die_with_parent
from pneumonia.system.errors import EnvironmentFailure

SECONDS_BETWEEN_LOOKS = 0.2


def run(jobs: Sequence[TrainJob], environment: dict[str, str]) -> list[Outcome]:
    """Run every job to its end; an exception (Ctrl-C) ends those that run. One that cannot be started has failed.

    Raises:
        EnvironmentFailure: a job wants more GPUs than there are.
    """
    gpus = gpu_names()
    greedy = [job.title for job in jobs if gpus and job.gpus > len(gpus)]
    if greedy:
        raise EnvironmentFailure(f"{', '.join(greedy)}: more GPUs are wanted than the {len(gpus)} here; lower devices=")
    logged, driver = len(jobs) > 1, secrets.token_hex(4)
    free = list(gpus) or [""]
    waiting = list(range(len(jobs)))
    running: dict[int, tuple[subprocess.Popen, list[str]]] = {}
    outcomes: dict[int, Outcome] = {}
    with JobTable(jobs, logged, driver, alone=len(free) == 1) as board:
        try:
            while waiting or running:
                while waiting and (need := jobs[waiting[0]].gpus if gpus else 1) <= len(free):
                    number, mine, free = waiting.pop(0), free[:need], free[need:]
                    try:
                        running[number] = (begin(jobs[number], environment, mine, driver, logged), mine)
                        board.running(number)
                    except OSError as error:
                        free += mine
                        outcomes[number] = Outcome(EnvironmentFailure.exit_code, f"it cannot be started: {error}")
                        board.ended_with(number, outcomes[number])
                time.sleep(SECONDS_BETWEEN_LOOKS)
                for number, (child, mine) in list(running.items()):
                    if child.poll() is not None:
                        del running[number]
                        free += mine
                        outcomes[number] = Outcome(child.returncode)
                        board.ended_with(number, outcomes[number])
                board.refresh()
        finally:
            process.stop(child for child, _ in running.values())
    return [outcomes[number] for number in range(len(jobs))]


def begin(job: TrainJob, environment: dict[str, str], gpus: list[str], driver: str, logged: bool) -> subprocess.Popen:
    if any(gpus):
        environment = environment | {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    log = str(job.log) if logged else None
    return process.start(job.command, environment, log, str(Path(die_with_parent.__file__)), driver)


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
