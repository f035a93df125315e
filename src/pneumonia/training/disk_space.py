"""Whether a training's files will fit, asked before it starts rather than after hours."""

import os
import secrets
import shutil
from pathlib import Path

import keras
import numpy as np

from pneumonia.runs.checkpoint import CHECKPOINTS_KEPT
from pneumonia.system.errors import EnvironmentFailure

SPARE = 32 << 20  # bytes for prediction tables, history and whatever else is small


def check_free(folder: Path, variables: list[keras.Variable], weights: list[keras.Variable], keeps_best: bool) -> None:
    """Raises EnvironmentFailure where `folder` cannot be written, or its disk has less room than a training needs.

    Args:
        variables: of a checkpoint. weights: of the network alone.
        keeps_best: whether the best epoch's weights are kept beside the checkpoints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # the new checkpoint is whole before an old one goes; of the best weights two may lie there, and the final ones
    needed = (CHECKPOINTS_KEPT + 1) * size_of(variables) + (3 if keeps_best else 1) * size_of(weights) + SPARE
    there = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    free = free_bytes(folder)
    if free < needed - there:
        raise EnvironmentFailure(
            f"{folder}: the run needs up to {readable(needed - there)}, and {readable(free)} are free; free some, or "
            "choose another disk by out="
        )
    probe = folder / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        probe.write_bytes(b"room")
    except OSError as error:
        raise EnvironmentFailure(f"{folder}: cannot be written: {error.strerror}; choose another by out=") from error
    finally:
        probe.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int:
    """Of the disk that `folder` is on, for this user. A quota is not visible here: it is met when it is reached."""
    return shutil.disk_usage(folder).free


def size_of(variables: list[keras.Variable]) -> int:
    """Bytes of variables."""
    return sum(int(np.prod(v.shape)) * np.dtype(keras.backend.standardize_dtype(v.dtype)).itemsize for v in variables)


def readable(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(count, 0) / 2**20:.0f} MiB"
