"""Where jobs run, by name. Jobs are the same everywhere: command line, environment, log beside the run."""

import importlib
from collections.abc import Sequence

from pneumonia.jobs.job import Outcome, TrainJob, job_environment
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input

EXECUTORS = {"local": "pneumonia.jobs.local", "ray": "pneumonia.jobs.ray_cluster"}  # imported when chosen


def run_all(jobs: Sequence[TrainJob], executor: str = "local", ray_address: str = "", threads: int = 0) -> None:
    """Run every job to its end. One that fails does not stop the others.

    Args:
        executor: a name in EXECUTORS.
        ray_address: executor=ray: the cluster's; "" starts one on this machine.
        threads: of each job; 0: one per core.

    Raises:
        BadInput: jobs failed, and all of them by bad input.
        EnvironmentFailure: jobs failed, named here with their logs.
    """
    if not jobs:
        return
    options = {"address": ray_address} if executor == "ray" else {}
    place = importlib.import_module(EXECUTORS[executor])
    outcomes: list[Outcome] = place.run(jobs, job_environment(threads), **options)
    failed = [(job, outcome) for job, outcome in zip(jobs, outcomes) if outcome.code != 0]
    if not failed:
        return
    names = ", ".join(f"{job.title} ({outcome})" for job, outcome in failed)
    what = f"{len(failed)} of {len(jobs)} jobs failed: {names}"
    if all(outcome.code == BadInput.exit_code for _, outcome in failed):
        raise bad_input("jobs", what, "fix what is said above; the same command goes on from here")
    raise EnvironmentFailure(f"{what}; why is said above; the same command goes on from here")
