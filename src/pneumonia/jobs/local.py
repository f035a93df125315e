"""Jobs on this machine: as many at once as its GPUs allow, or without GPUs its cores and its memory.

Each job is a process, because TensorFlow keeps GPU memory until its process ends, and sees only its own GPUs.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pneumonia.jobs import process
from pneumonia.jobs.job import Outcome, TrainJob
from pneumonia.jobs.job_table import JobTable
from pneumonia.jobs.sharing import jobs_at_once
from pneumonia.system import die_with_parent
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.processes import count_cores
from pneumonia.system.progress import say

POLL_SECONDS = 0.2


def run(
    jobs: Sequence[TrainJob], environment: dict[str, str], after_each: Callable[[], None], threads: int = 0
) -> list[Outcome]:
    """Run every job to its end; an exception (Ctrl-C) ends the running ones. A job that cannot be started has failed.

    Args:
        threads: of each job, as in the environment; 0: one per core, one job at a time where there is no GPU.

    Raises:
        EnvironmentFailure: a job needs more GPUs than there are.
    """
    gpus = gpu_names()
    too_large = [job.title for job in jobs if gpus and job.gpus > len(gpus)]
    if too_large:
        raise EnvironmentFailure(f"{', '.join(too_large)}: needs more than the {len(gpus)} GPUs here; lower devices=")
    logged, driver = len(jobs) > 1, secrets.token_hex(4)
    # a slot is a GPU's identifier, or "" for a share of the processor
    free = list(gpus) or [""] * jobs_at_once([job.memory for job in jobs], threads)
    if len(free) > 1 and not gpus:
        say(f"{len(free)} networks are trained at once, each with {threads} of {count_cores()} threads (job_threads=)")
    waiting = list(range(len(jobs)))
    running: dict[int, tuple[subprocess.Popen, list[str]]] = {}
    outcomes: dict[int, Outcome] = {}
    has_ended = False
    with JobTable(jobs, logged, driver, one_at_a_time=len(free) == 1) as table:
        try:
            while waiting or running:
                while waiting and (count := jobs[waiting[0]].gpus if gpus else 1) <= len(free):
                    number, slots, free = waiting.pop(0), free[:count], free[count:]
                    try:
                        running[number] = (start_job(jobs[number], environment, slots, driver, logged), slots)
                        table.mark_running(number)
                    except OSError as error:
                        free += slots
                        outcomes[number] = Outcome(EnvironmentFailure.exit_code, f"it cannot be started: {error}")
                        table.mark_ended(number, outcomes[number])
                if has_ended and running:  # the next job is running by now
                    after_each()
                has_ended = False
                time.sleep(POLL_SECONDS)
                for number, (child, slots) in list(running.items()):
                    if child.poll() is not None:
                        del running[number]
                        free += slots
                        outcomes[number] = Outcome(child.returncode)
                        table.mark_ended(number, outcomes[number])
                        has_ended = True
                table.refresh()
        finally:
            process.stop(child for child, _ in running.values())
    return [outcomes[number] for number in range(len(jobs))]


def start_job(
    job: TrainJob, environment: dict[str, str], gpus: list[str], driver: str, logged: bool
) -> subprocess.Popen:
    if any(gpus):
        environment = environment | {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    log = str(job.log) if logged else None
    return process.start(job.command, environment, log, str(Path(die_with_parent.__file__)), driver)


def gpu_names() -> list[str]:
    """Identifiers of this machine's NVIDIA GPUs that CUDA_VISIBLE_DEVICES allows; empty where there are none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return []
    return [str(index) for index in range(sum(line.startswith("GPU ") for line in listing.splitlines()))]
