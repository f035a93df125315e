"""Starts, watches and stops the process of a job.

Imports only the standard library: Ray sends these functions to nodes that do not have the package on their path.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ATTEMPT = "-- attempt"  # first words of the log line that marks the start of a process; its last word is the driver
SECONDS_TO_STOP = 30.0  # from Ctrl-C to SIGKILL; training ends at its next step


def start(
    command: Iterable[str],
    environment: dict[str, str],
    log: str | None,
    wrapper: str,
    driver: str,
    folder: str = "",
) -> subprocess.Popen:
    """Start a job's process, which dies with this one.

    Args:
        log: file to which its stdout and stderr are appended, because another driver's process may be writing to it;
            None: both are this process's stderr.
        wrapper: path of die_with_parent.py.
        driver: token of the process that runs the jobs, to recognise its attempts in the log.
        folder: working directory; this process's where it is "" or does not exist.

    Raises:
        OSError: the log cannot be written, or the process cannot be started.
    """
    line = [sys.executable, "-P", wrapper, str(os.getpid()), *command]
    cwd = folder if folder and Path(folder).is_dir() else None
    if log is None:
        return subprocess.Popen(line, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=2)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab", buffering=0) as file:
        file.write(attempt_line(len(find_attempts(log, driver)) + 1, driver).encode())
        return subprocess.Popen(
            line, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )


def stop(processes: Iterable[subprocess.Popen], grace: float = 5.0) -> None:
    """End processes by SIGINT, as Ctrl-C does, and by SIGKILL where that has no effect in SECONDS_TO_STOP.

    Args:
        grace: seconds before SIGINT. A terminal's Ctrl-C has reached the processes already, and a second one would
            interrupt them while they stop.
    """
    processes = list(processes)
    try:
        for number, wait in ((None, grace), (signal.SIGINT, SECONDS_TO_STOP)):
            deadline = time.monotonic() + wait
            for process in processes:
                if number is not None and process.poll() is None:
                    process.send_signal(number)
            while time.monotonic() < deadline and any(process.poll() is None for process in processes):
                time.sleep(0.05)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def run_job(
    command: list[str],
    environment: dict[str, str],
    log: str,
    lock: str,
    wrapper: str,
    driver: str,
    folder: str,
    gpu_variable: str,
) -> tuple[int, int, str]:
    """Run one job from start to end: a task on a cluster.

    Args:
        lock: the run's lock file. Where the worker of an earlier attempt was lost, its process is being killed and may
            hold the lock for a moment; the task waits for it.
        driver: token of the process that runs the jobs.
        folder: the driver's working directory.
        gpu_variable: environment variable in which the cluster names this task's GPUs; "" without GPUs.

    Returns:
        Exit code, number of attempts, last lines of the log.
    """
    if gpu_variable:
        environment = environment | {gpu_variable: os.environ.get(gpu_variable, "")}
    if find_attempts(log, driver):
        wait_until_free(lock)
    process = start(command, environment, log, wrapper, driver, folder)
    try:
        while process.poll() is None:  # not wait(): Python notices the cancelling of a task only between two bytecodes
            time.sleep(0.1)
    finally:
        stop([process], grace=0.0)
    starts = find_attempts(log, driver)
    return process.returncode, len(starts), "\n".join(last_lines(log, 20, *starts[:1]))


def check_node(token: str, python: str) -> tuple[str | None, bool]:
    """A task on one node: the content of the file `token` (None: no such file), and whether `python` can be run."""
    for _ in range(20):  # shared storage may take a moment to show a new file
        try:
            with open(token, encoding="utf-8") as file:
                return file.read(), os.access(python, os.X_OK)
        except OSError:
            time.sleep(0.25)
    return None, os.access(python, os.X_OK)


def wait_until_free(lock: str, seconds: float = 60.0) -> None:
    """Wait until no process holds a lock file, for at most `seconds`; the job reports a lock that is still held."""
    with contextlib.suppress(FileNotFoundError), open(lock, "rb+") as file:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.2)


def attempt_line(attempt: int, driver: str) -> str:
    return f"{ATTEMPT} {attempt}, {socket.gethostname()}, {time.strftime('%F %T')}, for {driver}\n"


def find_attempts(log: str, driver: str) -> list[int]:
    """Positions in the log, in bytes, at which processes of a driver start; empty where there is no log."""
    starts, position = [], 0
    try:
        with open(log, "rb") as file:
            for line in file:
                if line.startswith(ATTEMPT.encode()) and line.endswith(f", for {driver}\n".encode()):
                    starts.append(position)
                position += len(line)
    except OSError:  # also where the log's folder is a file
        return []
    return starts


def last_lines(log: str, count: int, begin: int = 0) -> list[str]:
    """The last `count` lines that are not empty, after byte `begin` of a log; of a progress bar its last state."""
    try:
        with open(log, "rb") as file:
            file.seek(max(begin, os.fstat(file.fileno()).st_size - 400 * count))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = (line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n"))
    return [line for line in lines if line][-count:]
