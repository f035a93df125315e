"""Check before a training starts that its files will fit on the disk."""

import os
import secrets
import shutil
from pathlib import Path

import keras
import numpy as np

from pneumonia.runs.checkpoint import MAX_CHECKPOINTS
from pneumonia.system.errors import EnvironmentFailure

SPARE = 32 << 20  # bytes for prediction tables, history and other small files


def check_free(folder: Path, variables: list[keras.Variable], weights: list[keras.Variable], keeps_best: bool) -> None:
    """Check that `folder` can be written and its disk has enough free space for a training.

    Args:
        variables: of a checkpoint.
        weights: variables of the network alone.
        keeps_best: whether the best epoch's weights are kept in addition to the checkpoints.

    Raises:
        EnvironmentFailure: the folder cannot be written, or the disk has too little space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a new checkpoint is complete before an old one is removed; there may be two files of best weights and a final one
    needed = (MAX_CHECKPOINTS + 1) * size_of(variables) + (3 if keeps_best else 1) * size_of(weights) + SPARE
    needed -= sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    free = free_bytes(folder)
    if free < needed:
        raise EnvironmentFailure(
            f"{folder}: the run needs up to {size_text(needed)}, and {size_text(free)} are free; free some, or "
            "choose another disk by out="
        )
    probe = folder / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        probe.write_bytes(b"probe")
    except OSError as error:
        fix = "choose another folder by out="
        raise EnvironmentFailure(f"{folder}: cannot be written: {error.strerror}; {fix}") from error
    finally:
        probe.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that `folder` is on. A quota of the user is not included."""
    return shutil.disk_usage(folder).free


def size_of(variables: list[keras.Variable]) -> int:
    """Return the bytes of all variables together."""
    return sum(int(np.prod(v.shape)) * np.dtype(keras.backend.standardize_dtype(v.dtype)).itemsize for v in variables)


def size_text(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(count, 0) / 2**20:.0f} MiB"
