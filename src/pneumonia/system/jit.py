"""Loops compiled by numba, with the machine code kept on disk where that is possible.

A cold compilation takes seconds, the ensemble starts in under three: so kernels are cached. Numba writes its cache
files by temporary name and rename, which is safe for several processes. It compares only the kernel's own file to
decide whether a cached kernel is stale: a kernel therefore calls only kernels of its own file.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numba


def jit(function: Callable, fastmath: bool = False) -> Callable:
    """`numba.njit` that releases the GIL, cached next to the source or, where that is read-only, under $TMPDIR."""
    options = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": neither the source's folder nor ~/.cache can be written
        folder = Path(tempfile.gettempdir()) / f"pneumonia-numba-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_uid != os.getuid():  # another user's folder: its code must not run here
                raise OSError
            numba.config.CACHE_DIR = str(folder)
            return numba.njit(cache=True, **options)(function)
        except (OSError, RuntimeError):
            return numba.njit(**options)(function)


def jit_fastmath(function: Callable) -> Callable:
    """As `jit`, with sums reordered and without NaN: for vectorised loops that need not be exact to the last bit."""
    return jit(function, fastmath=True)
