"""Progress on stderr: a bar with rate and time left on a terminal, else lines."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def say(message: str) -> None:
    """One line to stderr, above a running bar if there is one."""
    tqdm.write(message, file=sys.stderr)
    sys.stderr.flush()


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "image") -> Iterator[T]:
    """Yield `items` and print the progress. Without a terminal: a line at most every 15 s and one at the end."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, unit=unit, dynamic_ncols=True, smoothing=0.1, leave=False)
        return
    units = f"{unit}es" if unit.endswith("ch") else f"{unit}s"
    start = last = time.monotonic()
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            rate = count / (now - start)
            left = f", {(total - count) / rate:.0f} s left" if total else ""
            say(f"{what}: {count}{f'/{total}' if total else ''} {units}, {rate:.1f}/s{left}")
    seconds = time.monotonic() - start
    if seconds >= 1.0:
        say(f"{what}: {count} {unit if count == 1 else units} in {seconds:.0f} s")
