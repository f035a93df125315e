"""Write and read checkpoints: all variables of a training in one file, written atomically, its checksum in its name.

safetensors files hold plain arrays, no code. A checkpoint is named
`epoch-<epochs done>-<first 16 hex digits of its SHA-256>.safetensors`; if its content does not match its name it is
damaged, and the checkpoint before it is used. It also holds the history so far, so that a training can resume from this
file alone. A file of weights has a fixed name, and its checksum inside.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.files import atomic_write, sha256
from pneumonia.system.progress import say

MAX_CHECKPOINTS = 2  # the newest, and the one before it in case the newest is damaged


class DamagedWeights(EnvironmentFailure):
    """The content of a weights file is not what was written."""


def tensors_of(variables: Iterable[keras.Variable]) -> dict[str, np.ndarray]:
    """Return arrays by position: within one experiment the order of variables is fixed, their names are not."""
    return {f"{index:05d}": array_of(variable) for index, variable in enumerate(variables)}


def array_of(variable: keras.Variable) -> np.ndarray:
    """Return a variable's value; with several devices, of the first device's copy."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)))


def assign(variables: list[keras.Variable], tensors: dict[str, np.ndarray], source: Path) -> None:
    """Assign the tensors to the variables. Raises EnvironmentFailure if number or shapes differ."""
    shapes = [tuple(variable.shape) for variable in variables]
    if [tensors[name].shape for name in sorted(tensors)] != shapes:
        raise EnvironmentFailure(f"{source}: holds the variables of another model; remove it, or train again")
    for variable, name in zip(variables, sorted(tensors), strict=True):
        variable.assign(tensors[name])


def unpack(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return a file's tensors and metadata. Raises ValueError if it is cut off, is not a safetensors file, or its
    checksum differs."""
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    if "sha256" in metadata and metadata["sha256"] != digest_of(tensors):
        raise ValueError("its checksum differs")
    return tensors, metadata


def digest_of(tensors: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the values, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def write_weights(path: Path, variables: Iterable[keras.Variable]) -> str:
    """Write the variables into one file; return the file's SHA-256."""
    tensors = tensors_of(variables)
    content = save(tensors, {"sha256": digest_of(tensors)})
    with atomic_write(path, "wb") as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def read_weights(path: Path, variables: list[keras.Variable], checksum: str | None = None) -> None:
    """Load the variables from a file of weights.

    Args:
        checksum: the file's SHA-256, if it is known.

    Raises:
        DamagedWeights: the file is damaged.
        EnvironmentFailure: it cannot be read, or has the weights of another model.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EnvironmentFailure(f"{path}: cannot be read ({error.strerror}); train the run again") from error
    try:
        tensors, _ = unpack(content)
        if checksum and hashlib.sha256(content).hexdigest() != checksum:
            raise ValueError("its checksum differs")
    except ValueError as error:
        raise DamagedWeights(f"{path}: is damaged ({error}); remove the run's folder and train again") from error
    assign(variables, tensors, path)


def write_checkpoint(
    folder: Path, epochs_done: int, variables: list[keras.Variable], history: Sequence[dict] = ()
) -> Path:
    """Write a checkpoint, remove all but the newest MAX_CHECKPOINTS, and return its path.

    history: one dictionary per epoch done (metrics.jsonl).
    """
    content = save(tensors_of(variables), {"history": json.dumps(list(history))})
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"epoch-{epochs_done:05d}-{digest}.safetensors"
    with atomic_write(path, "wb") as file:
        file.write(content)
    for old in checkpoints(folder)[MAX_CHECKPOINTS:]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the paths of a run's checkpoints, the newest first."""
    return sorted(folder.glob("epoch-*.safetensors"), reverse=True)


def newest_valid(folder: Path) -> tuple[int, Path | None]:
    """Return the number of epochs done and the path of the newest undamaged checkpoint; (0, None) if there is none."""
    for path in checkpoints(folder):
        _, epochs_done, digest = path.stem.split("-")
        try:
            is_valid = sha256(path)[:16] == digest
        except OSError as error:
            say(f"{path}: cannot be read ({error.strerror}); using the checkpoint before it")
            continue
        if is_valid:
            return int(epochs_done), path
        say(f"{path}: is damaged, its checksum differs; using the checkpoint before it")
    return 0, None


def read_history(path: Path | None) -> list[dict]:
    """Return the history in a checkpoint; empty if there is no checkpoint."""
    if path is None:
        return []
    _, metadata = unpack(path.read_bytes())
    return json.loads(metadata["history"])


def restore(path: Path, variables: list[keras.Variable]) -> None:
    """Load the variables from a checkpoint that `newest_valid` returned."""
    assign(variables, unpack(path.read_bytes())[0], path)
