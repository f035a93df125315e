"""A job's process: started, attended to its end, stopped. Only the standard library, because Ray carries this file's
functions to nodes that do not have the package on their path."""

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

ATTEMPT = "-- attempt"  # how the log marks where a process was started; the line ends in whose process it was
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
        log: file that its stdout and stderr are added to; None: they go to this process's stderr. What is there is
            never removed: it may be of a process that runs, another driver's.
        wrapper: path of die_with_parent.py.
        driver: token of who runs the jobs, by which he knows his attempts in the log.
        folder: where the command's relative paths begin; "" or one that is not here: where this process is.

    Raises:
        OSError: the log cannot be written, or the process not started.
    """
    line = [sys.executable, "-P", wrapper, str(os.getpid()), *command]
    cwd = folder if folder and Path(folder).is_dir() else None
    if log is None:
        return subprocess.Popen(line, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=2)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab", buffering=0) as file:
        file.write(mark(len(attempts(log, driver)) + 1, driver).encode())
        return subprocess.Popen(
            line, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )


def stop(processes: Iterable[subprocess.Popen], grace: float = 5.0) -> None:
    """End processes as Ctrl-C does, and what does not listen by SIGKILL.

    A terminal's Ctrl-C has reached them already: for `grace` seconds they are left to end by themselves, since a
    second one would disturb them at it.
    """
    left = list(processes)
    try:
        for number, wait in ((None, grace), (signal.SIGINT, SECONDS_TO_STOP)):
            deadline = time.monotonic() + wait
            for process in left:
                if number is not None and process.poll() is None:
                    process.send_signal(number)
            while time.monotonic() < deadline and any(process.poll() is None for process in left):
                time.sleep(0.05)
    finally:
        for process in left:
            if process.poll() is None:
                process.kill()
            process.wait()


def attend(
    command: list[str],
    environment: dict[str, str],
    log: str,
    lock: str,
    wrapper: str,
    driver: str,
    folder: str,
    gpu_variable: str,
) -> tuple[int, int, str]:
    """A task on a cluster: one job from start to end.

    Args:
        lock: the run's lock file. Where an earlier attempt's worker was lost, its process is being killed and may hold
            the lock for a moment; it is waited for.
        driver: token of who runs the jobs.
        folder: the driver's working directory.
        gpu_variable: environment variable by which the cluster says which GPUs are this task's; "" for none.

    Returns:
        Exit code, number of attempts, last lines of the log.
    """
    if gpu_variable:
        environment = environment | {gpu_variable: os.environ.get(gpu_variable, "")}
    if attempts(log, driver):
        wait_until_free(lock)
    process = start(command, environment, log, wrapper, driver, folder)
    try:
        while process.poll() is None:  # not wait(): the cancelling of a task is noticed between two bytecodes only
            time.sleep(0.1)
    finally:
        stop([process], grace=0.0)
    begun = attempts(log, driver)
    return process.returncode, len(begun), "\n".join(last_lines(log, 20, *begun[:1]))


def look(token: str, python: str) -> tuple[str | None, bool]:
    """A task pinned to a node: what it reads in a file (None: it is not there), and whether it has an interpreter."""
    for _ in range(20):  # shared storage may take a moment to show a new file
        try:
            with open(token, encoding="utf-8") as file:
                return file.read(), os.access(python, os.X_OK)
        except OSError:
            time.sleep(0.25)
    return None, os.access(python, os.X_OK)


def wait_until_free(lock: str, seconds: float = 60.0) -> None:
    """Wait until nobody holds a lock file, for `seconds` at most; whoever needs it will say that it is held."""
    with contextlib.suppress(FileNotFoundError), open(lock, "rb+") as file:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.2)


def mark(attempt: int, driver: str) -> str:
    return f"{ATTEMPT} {attempt}, {socket.gethostname()}, {time.strftime('%F %T')}, for {driver}\n"


def attempts(log: str, driver: str) -> list[int]:
    """Where in the log, in bytes, each process begins that was started for a driver; none where there is no log."""
    found, at = [], 0
    try:
        with open(log, "rb") as file:
            for line in file:
                if line.startswith(ATTEMPT.encode()) and line.endswith(f", for {driver}\n".encode()):
                    found.append(at)
                at += len(line)
    except OSError:  # its folder may be none
        return []
    return found


def last_lines(log: str, count: int, begin: int = 0) -> list[str]:
    """The last lines with something in them, after a log's byte `begin`; a progress bar's is what it last showed."""
    try:
        with open(log, "rb") as file:
            file.seek(max(begin, os.fstat(file.fileno()).st_size - 400 * count))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = (line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n"))
    return [line for line in lines if line][-count:]
