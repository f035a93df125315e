"""Jobs as tasks of a Ray cluster (Ray Core): each task starts the same process with the same environment.

A task whose worker or node is lost is started again on any node; training continues from its checkpoint in the run's
folder, so every node must see that folder. Ray decides only where and when a job runs.
"""

import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pneumonia.jobs import process
from pneumonia.jobs.job import Outcome, TrainJob
from pneumonia.jobs.job_table import JobTable
from pneumonia.system import die_with_parent
from pneumonia.system.errors import EnvironmentFailure, bad_input
from pneumonia.system.files import atomic_write

RETRIES = 5  # of a task whose worker was lost
POLL_SECONDS = 0.5
SECONDS_TO_CONNECT = 10.0
SECONDS_TO_ANSWER = 60.0  # for a node's answer whether it sees the folder
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns about the GPUs that a task without GPUs sees
    "RAY_memory_monitor_refresh_ms": "0",  # else Ray kills and repeats tasks while other programs use the memory
}
LONGEST_TEMPORARY_FOLDER = 40  # Ray's socket names in it must stay under 107 bytes
OBJECT_STORE_BYTES = 100 * 2**20  # it holds only exit codes and last lines of logs


def run(
    jobs: Sequence[TrainJob], environment: dict[str, str], after_each: Callable[[], None], address: str = ""
) -> list[Outcome]:
    """Run every job to its end; an exception (Ctrl-C) ends the running ones.

    Raises:
        BadInput: no cluster answers at the address.
        EnvironmentFailure: a node does not see the runs' folder, or no node is large enough for a job.
    """
    # For every lost worker Ray prints a page to stdout, which is for results only; JobTable reports it on stderr.
    with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull), connect(address) as ray:
        check_nodes(ray, Path(os.path.commonpath([job.folder.absolute() for job in jobs])))
        return run_tasks(ray, jobs, environment, after_each)


def run_tasks(
    ray, jobs: Sequence[TrainJob], environment: dict[str, str], after_each: Callable[[], None]
) -> list[Outcome]:
    run_job = ray.remote(max_retries=RETRIES)(process.run_job)
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    cpus = int(environment.get("TF_NUM_INTRAOP_THREADS") or 1)
    resources = [{"CPU": cpus, "GPU": job.gpus if has_gpus else 0} for job in jobs]
    check_node_sizes(ray, jobs, resources)
    driver = secrets.token_hex(4)
    outcomes: dict[int, Outcome] = {}
    with JobTable(jobs, logged=True, driver=driver, one_at_a_time=len(jobs) == 1) as table:
        tasks = {}
        for number, (job, counts) in enumerate(zip(jobs, resources)):
            task = run_job.options(num_cpus=counts["CPU"], num_gpus=counts["GPU"], name=job.title).remote(
                list(job.command), environment, str(job.log.absolute()), str(job.lock.absolute()),
                str(Path(die_with_parent.__file__).absolute()), driver, str(Path.cwd()),
                "CUDA_VISIBLE_DEVICES" if counts["GPU"] else "",
            )  # fmt: skip
            tasks[task] = number
        attempts = dict.fromkeys(range(len(jobs)), 0)
        try:
            while tasks:
                ended, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=POLL_SECONDS)
                for number in tasks.values():
                    before, attempts[number] = attempts[number], count_attempts(jobs[number], driver)
                    for attempt in range(before + 1, attempts[number] + 1):
                        table.mark_running(number) if attempt == 1 else table.report_retry(number, attempt)
                for task in ended:
                    number = tasks.pop(task)
                    outcomes[number] = read_outcome(ray, task, jobs[number], driver)
                    table.mark_ended(number, outcomes[number])
                table.refresh()
                if ended and tasks:
                    after_each()
        finally:
            cancel(ray, list(tasks))
    return [outcomes[number] for number in range(len(jobs))]


def count_attempts(job: TrainJob, driver: str) -> int:
    return len(process.find_attempts(str(job.log), driver))


def read_outcome(ray, task, job: TrainJob, driver: str) -> Outcome:
    """The outcome of a task that has ended; where its log is not visible here yet, its last lines are appended."""
    try:
        code, attempts, tail = ray.get(task)
    except ray.exceptions.RayTaskError as error:  # process.run_job itself failed, for example on a full disk
        return Outcome(EnvironmentFailure.exit_code, f"it cannot be started: {error.cause}")
    except ray.exceptions.RayError as error:
        return Outcome(None, f"{RETRIES + 1} times: {str(error).strip().splitlines()[0]}")
    if not count_attempts(job, driver):
        job.folder.mkdir(parents=True, exist_ok=True)
        with open(job.log, "a", encoding="utf-8") as file:
            file.write(f"{process.attempt_line(attempts, driver)}{tail}\n")
    return Outcome(code, f"{attempts} attempts, as workers were lost" if attempts > 1 else "")


def cancel(ray, tasks: list) -> None:
    """Cancel tasks, and wait until their processes have ended."""
    for task in tasks:
        ray.cancel(task)
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=process.SECONDS_TO_STOP + 5.0)


# ------------------------------------------------------------------ the cluster


@contextlib.contextmanager
def connect(address: str = "", **resources: int) -> Iterator:
    """Connect to a cluster while the block runs, and give Ray's module. An existing connection is used and kept.

    Args:
        address: the cluster's address; "" starts one on this machine, without a dashboard, and ends it afterwards.
        resources: num_cpus and num_gpus of the cluster started here; default: all of the machine.

    Raises:
        BadInput: no cluster answers at the address, or it has another Ray or Python version.
    """
    for name, value in ENVIRONMENT.items():
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
                check_address(address)
                ray.init(address=address, **quiet)
            except (OSError, RuntimeError, ValueError) as error:
                reason = str(error).strip().splitlines()[0]
                fix = "give the address that `ray start --head` printed, or leave it out to start a cluster here"
                raise bad_input("ray_address", f"no cluster answers at {address}: {reason}", fix) from error
        else:
            folder = short_temporary_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            ray.init(
                address="local", **resources, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder), **quiet,
            )  # fmt: skip
        stack.callback(ray.shutdown)
        yield ray


def check_address(address: str) -> None:
    """Raises OSError or ValueError where nothing listens at host:port; Ray itself would try for minutes."""
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdigit():
            raise ValueError("it is not HOST:PORT")
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT).close()


def short_temporary_folder() -> Path:
    default = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="ray-", dir=default if len(default) < LONGEST_TEMPORARY_FOLDER else "/tmp"))


def check_nodes(ray, folder: Path) -> None:
    """Check that every node reads a token that is written here into `folder`, and has this Python.

    Raises:
        EnvironmentFailure: a node does not; the message names it.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token, content = folder / f".seen-from-every-node-{secrets.token_hex(4)}", secrets.token_hex(16)
    with atomic_write(token) as file:
        file.write(content)
    try:
        check_node = ray.remote(max_retries=0, num_cpus=0)(process.check_node)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        tasks = [
            check_node.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                str(token), sys.executable
            )
            for node in nodes
        ]
        ray.wait(tasks, num_returns=len(tasks), timeout=SECONDS_TO_ANSWER)
        for node, task in zip(nodes, tasks):
            name = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            try:
                node_content, has_python = ray.get(task, timeout=0.1)
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[0]
                raise EnvironmentFailure(f"{name} does not answer whether it sees {folder}: {reason}") from error
            if node_content != content:
                fix = "put the repository on storage that every node has at the same path"
                raise EnvironmentFailure(f"{name} does not see {folder}: {fix}")
            if not has_python:
                fix = "run ./run.sh once on shared storage, at the same path on every node"
                raise EnvironmentFailure(f"{name} has no {sys.executable}: {fix}")
    finally:
        token.unlink(missing_ok=True)


def check_node_sizes(ray, jobs: Sequence[TrainJob], resources: Sequence[dict[str, int]]) -> None:
    """Raises EnvironmentFailure where no node is large enough for a job: Ray would wait forever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for job, counts in zip(jobs, resources):
        if not any(all(node.get(kind, 0) >= count for kind, count in counts.items()) for node in nodes):
            text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            raise EnvironmentFailure(f"{job.title}: no node has {text}; lower job_threads= or devices=, or add a node")
