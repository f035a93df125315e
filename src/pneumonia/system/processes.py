"""Work shared among processes of this machine, and Ctrl-C, which their parent alone hears."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from typing import TypeVar

from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.switches import set_switches

Item, Result = TypeVar("Item"), TypeVar("Result")


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, chunksize: int = 1
) -> Iterator[Result]:
    """`map` by spawned processes, in the order of `items`. What ends it early, Ctrl-C too, ends them at once.

    Raises:
        EnvironmentFailure: one of them was killed.
    """
    others = active_children()
    # spawn, not fork: the caller may have threads (TensorFlow's) that a fork would leave in a broken state
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=prepare_worker)
    try:
        with ignore_sigint():
            done = pool.map(function, items, chunksize=chunksize)
        yield from done
    except BrokenProcessPool as error:
        text = "a process that read images was killed, for want of memory perhaps; try workers=1"
        raise EnvironmentFailure(text) from error
    except BaseException:
        for worker in set(active_children()).difference(others):  # what it is at is not wanted any more
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def prepare_worker() -> None:
    """The switches; and no process outlives a killed parent, whose locks are free at once."""
    set_switches()

    def leave_with_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


@contextlib.contextmanager
def ignore_sigint() -> Iterator[None]:
    """Processes that are started within never hear Ctrl-C, which a terminal sends to all: who started them ends them.

    They are born so. An initializer would come too late: a process takes a second to import what it needs for that.
    This process hears it when the block is over; one that is half started would miss what it is told.
    """
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and then unblocks SIGINT
    heard = []
    is_main = threading.current_thread() is threading.main_thread()  # where Python handles signals
    handler = signal.signal(signal.SIGINT, lambda *_: heard.append(True)) if is_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
        if heard:
            signal.raise_signal(signal.SIGINT)


def cores() -> int:
    """Those that this process may use, which a container or a batch system may have limited; all, where the system does
    not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
