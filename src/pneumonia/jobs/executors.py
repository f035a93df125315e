"""Where jobs run, by name. A job has the same command line, environment and log everywhere."""

import importlib
from collections.abc import Callable, Sequence

from pneumonia.jobs.job import Outcome, TrainJob, job_environment
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input

EXECUTORS = {"local": "pneumonia.jobs.local", "ray": "pneumonia.jobs.ray_cluster"}  # imported when chosen


def run_all(
    jobs: Sequence[TrainJob],
    executor: str = "local",
    ray_address: str = "",
    threads: int = 0,
    after_each: Callable[[], None] = lambda: None,
) -> None:
    """Run every job to its end. One that fails does not stop the others.

    Args:
        executor: a name in EXECUTORS.
        ray_address: executor=ray: the cluster's address; "" starts one on this machine.
        threads: threads per job; 0: one per core. Without a GPU, executor=local shares the cores by it.
        after_each: called after a job has ended while others are left.

    Raises:
        BadInput: jobs failed, all of them because of bad input; a cluster's address without executor=ray.
        EnvironmentFailure: jobs failed, at least one of them for another reason.
    """
    if ray_address and executor != "ray":
        what = f"is a cluster's address, but executor={executor} runs on this machine"
        raise bad_input("ray_address", what, "add executor=ray, or leave ray_address out")
    if not jobs:
        return
    options = {"address": ray_address} if executor == "ray" else {"threads": threads}
    module = importlib.import_module(EXECUTORS[executor])
    outcomes: list[Outcome] = module.run(jobs, job_environment(threads), after_each, **options)
    failed = [(job, outcome) for job, outcome in zip(jobs, outcomes) if outcome.code != 0]
    if not failed:
        return
    names = ", ".join(f"{job.title} ({outcome})" for job, outcome in failed)
    what = f"{len(failed)} of {len(jobs)} jobs failed: {names}"
    if all(outcome.code == BadInput.exit_code for _, outcome in failed):
        raise bad_input("jobs", what, "fix the errors above, then run the same command again to continue")
    raise EnvironmentFailure(f"{what}; the reasons are above; run the same command again to continue")
