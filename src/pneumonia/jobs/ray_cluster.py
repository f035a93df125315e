"""Jobs as tasks of a Ray cluster (Ray Core): each task starts the same process with the same environment.

A task whose worker or node is lost is started again, anywhere; training goes on from its checkpoint in the run's
folder, so every node must see that folder. What Ray decides is only where and when.
"""

import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pneumonia.jobs import process
from pneumonia.jobs.job import Outcome, TrainJob
from pneumonia.jobs.job_table import JobTable
from pneumonia.system import die_with_parent
from pneumonia.system.errors import EnvironmentFailure, bad_input
from pneumonia.system.files import atomic_write

RETRIES = 5  # of a task whose worker was lost
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_CONNECT = 10.0
SECONDS_TO_ANSWER = 60.0  # of a node that is asked whether it sees the folder
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning about what a task without GPUs sees
    "RAY_memory_monitor_refresh_ms": "0",  # it would kill and repeat a task for other programs' memory, for ever
}
LONGEST_TEMPORARY_FOLDER = 40  # Ray's socket names below it must stay under 107 bytes
OBJECT_STORE_BYTES = 100 * 2**20  # nothing but exit codes and log tails passes through it


def run(jobs: Sequence[TrainJob], environment: dict[str, str], address: str = "") -> list[Outcome]:
    """Run every job to its end; an exception (Ctrl-C) ends those that run.

    Raises:
        BadInput: no cluster answers at the address.
        EnvironmentFailure: a node does not see the runs' folder, or no node is large enough for a job.
    """
    # Ray prints a page to stdout for every lost worker, where only a command's results belong; the board says it.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), connected(address) as ray:
        check_every_node_sees(ray, Path(os.path.commonpath([job.folder.absolute() for job in jobs])))
        return run_tasks(ray, jobs, environment)


def run_tasks(ray, jobs: Sequence[TrainJob], environment: dict[str, str]) -> list[Outcome]:
    attend = ray.remote(max_retries=RETRIES)(process.attend)
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    cpus = int(environment.get("TF_NUM_INTRAOP_THREADS") or 1)
    wants = [{"CPU": cpus, "GPU": job.gpus if has_gpus else 0} for job in jobs]
    check_room(ray, jobs, wants)
    driver = secrets.token_hex(4)
    outcomes: dict[int, Outcome] = {}
    with JobTable(jobs, logged=True, driver=driver, alone=len(jobs) == 1) as board:
        tasks = {}
        for number, (job, want) in enumerate(zip(jobs, wants)):
            task = attend.options(num_cpus=want["CPU"], num_gpus=want["GPU"], name=job.title).remote(
                list(job.command), environment, str(job.log.absolute()), str(job.lock.absolute()),
                str(Path(die_with_parent.__file__).absolute()), driver, str(Path.cwd()),
                "CUDA_VISIBLE_DEVICES" if want["GPU"] else "",
            )  # fmt: skip
            tasks[task] = number
        attempts = dict.fromkeys(range(len(jobs)), 0)
        try:
            while tasks:
                over, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=SECONDS_BETWEEN_LOOKS)
                for number in tasks.values():
                    mine = process.attempts(str(jobs[number].log), driver)
                    before, attempts[number] = attempts[number], len(mine)
                    for attempt in range(before + 1, len(mine) + 1):
                        board.running(number) if attempt == 1 else board.begun_again(number, attempt)
                for task in over:
                    number = tasks.pop(task)
                    outcomes[number] = outcome_of(ray, task, jobs[number], driver)
                    board.ended_with(number, outcomes[number])
                board.refresh()
        finally:
            cancel(ray, list(tasks))
    return [outcomes[number] for number in range(len(jobs))]


def outcome_of(ray, task, job: TrainJob, driver: str) -> Outcome:
    """The outcome of a task that is over; where its log is not to be seen here yet, its last lines are added."""
    try:
        code, attempts, tail = ray.get(task)
    except ray.exceptions.RayTaskError as error:  # our own lines failed there: the disk is full, say
        return Outcome(EnvironmentFailure.exit_code, f"it cannot be started: {error.cause}")
    except ray.exceptions.RayError as error:
        return Outcome(None, f"{RETRIES + 1} times: {str(error).strip().splitlines()[0]}")
    if not process.attempts(str(job.log), driver):
        job.folder.mkdir(parents=True, exist_ok=True)
        with open(job.log, "a", encoding="utf-8") as file:
            file.write(f"{process.mark(attempts, driver)}{tail}\n")
    return Outcome(code, f"{attempts} attempts, as workers were lost" if attempts > 1 else "")


def cancel(ray, tasks: list) -> None:
    """End tasks as Ctrl-C does, and wait until their processes have ended."""
    for task in tasks:
        ray.cancel(task)
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=process.SECONDS_TO_STOP + 5.0)


# ------------------------------------------------------------------ the cluster


@contextlib.contextmanager
def connected(address: str = "", **offered: int) -> Iterator:
    """Ray's module, connected; at the end what was started here is gone. A connection that exists is used and left.

    Args:
        address: the cluster's; "" starts one on this machine, with nothing that a browser could open.
        offered: num_cpus and num_gpus of the one started here; else what the machine has.

    Raises:
        BadInput: no cluster answers at the address, or one of another Ray or Python version.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    ray.cloudpickle.register_pickle_by_value(process)  # nodes need not have the package on their path
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    with contextlib.ExitStack() as stack:
        if address:
            try:
                answers(address)
                ray.init(address=address, **quiet)
            except (OSError, RuntimeError, ValueError) as error:
                why = str(error).strip().splitlines()[0]
                fix = "give the address that `ray start --head` printed, or leave it out to start a cluster here"
                raise bad_input("ray_address", f"no cluster answers at {address}: {why}", fix) from error
        else:
            folder = short_temporary_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            ray.init(
                address="local", **offered, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder), **quiet,
            )  # fmt: skip
        stack.callback(ray.shutdown)
        yield ray


def answers(address: str) -> None:
    """Raises OSError or ValueError where nothing listens at host:port; Ray itself would try for minutes."""
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdigit():
            raise ValueError("it is not HOST:PORT")
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT).close()


def short_temporary_folder() -> Path:
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="ray-", dir=usual if len(usual) < LONGEST_TEMPORARY_FOLDER else "/tmp"))


def check_every_node_sees(ray, folder: Path) -> None:
    """Every node reads a token written here, and has this Python.

    Raises:
        EnvironmentFailure: a node does not; it is named.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token, content = folder / f".seen-from-every-node-{secrets.token_hex(4)}", secrets.token_hex(16)
    with atomic_write(token) as file:
        file.write(content)
    try:
        look = ray.remote(max_retries=0, num_cpus=0)(process.look)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        looks = [
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                str(token), sys.executable
            )
            for node in nodes
        ]
        ray.wait(looks, num_returns=len(looks), timeout=SECONDS_TO_ANSWER)
        for node, answer in zip(nodes, looks):
            name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            try:
                seen, has_python = ray.get(answer, timeout=0.1)
            except ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[0]
                raise EnvironmentFailure(f"{name} does not say whether it sees {folder}: {why}") from error
            if seen != content:
                fix = "put the repository on storage that every node has at the same path"
                raise EnvironmentFailure(f"{name} does not see {folder}: {fix}")
            if not has_python:
                fix = "run ./run.sh once on shared storage, at the same path on every node"
                raise EnvironmentFailure(f"{name} has no {sys.executable}: {fix}")
    finally:
        token.unlink(missing_ok=True)


def check_room(ray, jobs: Sequence[TrainJob], wants: Sequence[dict[str, int]]) -> None:
    """Ray would wait for ever for a node that is large enough."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for job, want in zip(jobs, wants):
        if not any(all(node.get(kind, 0) >= count for kind, count in want.items()) for node in nodes):
            shown = ", ".join(f"{count} {kind}" for kind, count in want.items() if count)
            raise EnvironmentFailure(f"{job.title}: no node has {shown}; lower job_threads= or devices=, or add a node")
