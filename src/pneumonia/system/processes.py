"""Work in several processes of this machine, of which only the parent receives Ctrl-C."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from pathlib import Path
from typing import TypeVar

from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.switches import set_switches

# files of Linux's cgroups, versions 2 and 1
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
Item, Result = TypeVar("Item"), TypeVar("Result")


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, chunksize: int = 1
) -> Iterator[Result]:
    """`map` by spawned processes, in the order of `items`. An exception, Ctrl-C too, ends the processes at once.

    Raises:
        EnvironmentFailure: a process was killed.
    """
    others = active_children()
    # spawn, not fork: the caller may have threads (TensorFlow's) that a fork would leave in a broken state
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=prepare_worker)
    try:
        with ignore_sigint():
            results = pool.map(function, items, chunksize=chunksize)
        yield from results
    except BrokenProcessPool as error:
        text = "a process that read images was killed, perhaps because memory ran out; try workers=1"
        raise EnvironmentFailure(text) from error
    except BaseException:
        for worker in set(active_children()).difference(others):  # its result is not needed any more
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def prepare_worker() -> None:
    """Set the switches, and make the process end with its parent, so that a killed parent's locks are free at once."""
    set_switches()

    def exit_with_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


@contextlib.contextmanager
def ignore_sigint() -> Iterator[None]:
    """Hide Ctrl-C, which a terminal sends to all, from processes that are started in the block: their parent ends them.

    They inherit the blocked signal. An initializer would run too late: a process needs a second for its imports first.
    This process receives Ctrl-C at the end of the block: an exception within would leave a process half started.
    """
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and then unblocks SIGINT
    interrupts = []
    is_main = threading.current_thread() is threading.main_thread()  # where Python handles signals
    handler = signal.signal(signal.SIGINT, lambda *_: interrupts.append(True)) if is_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
        if interrupts:
            signal.raise_signal(signal.SIGINT)


def count_cores() -> int:
    """Cores that this process may use, which a container or a batch system may limit; all, where the system has no such
    limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory() -> float:
    """Memory in GiB that this process and its children may fill: 80 % of the machine's, or of a container's limit."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file outside a container; `max` is no limit
            sizes.append(int(Path(limit).read_text()))
    return 0.8 * min(sizes) / 2**30
