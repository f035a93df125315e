"""Every variable of a training in one file, whole or not at all, its checksum in its name.

safetensors holds plain arrays: nothing in such a file can run. A checkpoint is named
`epoch-<epochs done>-<first 16 hex digits of its SHA-256>.safetensors`; a file whose content does not match its name is
damaged, and the one before is used. It holds the history up to there, so that nothing else is needed to go on. Weights
alone have a fixed name, and their checksum inside.
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

CHECKPOINTS_KEPT = 2  # the newest, and the one before in case the newest is damaged


class DamagedWeights(EnvironmentFailure):
    """A file of weights has another content than was written."""


def tensors_of(variables: Iterable[keras.Variable]) -> dict[str, np.ndarray]:
    """Arrays by position: within one experiment the order of variables is fixed, their names are not."""
    return {f"{index:05d}": array_of(variable) for index, variable in enumerate(variables)}


def array_of(variable: keras.Variable) -> np.ndarray:
    """A variable's value, of any device's copy where it has several."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)))


def assign(variables: list[keras.Variable], tensors: dict[str, np.ndarray], source: Path) -> None:
    """Raises EnvironmentFailure where number or shapes are those of another model."""
    shapes = [tuple(variable.shape) for variable in variables]
    if [tensors[name].shape for name in sorted(tensors)] != shapes:
        raise EnvironmentFailure(f"{source}: holds the variables of another model; remove it, or train again")
    for variable, name in zip(variables, sorted(tensors), strict=True):
        variable.assign(tensors[name])


def unpack(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A file's tensors and its metadata. Raises ValueError where it is cut, no such file, or has another content than
    when it was written."""
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    if "sha256" in metadata and metadata["sha256"] != digest_of(tensors):
        raise ValueError("its checksum differs")
    return tensors, metadata


def digest_of(tensors: dict[str, np.ndarray]) -> str:
    """SHA-256 of the values, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def write_weights(path: Path, variables: Iterable[keras.Variable]) -> str:
    """One file of variables; returns its SHA-256."""
    tensors = tensors_of(variables)
    content = save(tensors, {"sha256": digest_of(tensors)})
    with atomic_write(path, "wb") as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def read_weights(path: Path, variables: list[keras.Variable], checksum: str | None = None) -> None:
    """Raises DamagedWeights, or EnvironmentFailure where the file cannot be read or is another model's.

    checksum: of the file.
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
    """history: one dictionary per epoch done (metrics.jsonl)."""
    content = save(tensors_of(variables), {"history": json.dumps(list(history))})
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"epoch-{epochs_done:05d}-{digest}.safetensors"
    with atomic_write(path, "wb") as file:
        file.write(content)
    for old in checkpoints(folder)[CHECKPOINTS_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """A run's checkpoints, the newest first."""
    return sorted(folder.glob("epoch-*.safetensors"), reverse=True)


def newest_sound(folder: Path) -> tuple[int, Path | None]:
    """The newest checkpoint whose content matches its name, after the epochs it had done; (0, None) without any."""
    for path in checkpoints(folder):
        _, epochs_done, digest = path.stem.split("-")
        try:
            digest_now = sha256(path)[:16]
        except OSError as error:
            say(f"{path}: cannot be read ({error.strerror}); using the checkpoint before it")
            continue
        if digest_now == digest:
            return int(epochs_done), path
        say(f"{path}: damaged, its checksum differs; using the checkpoint before it")
    return 0, None


def history_of(path: Path | None) -> list[dict]:
    """The history in a checkpoint; empty without one."""
    if path is None:
        return []
    _, metadata = unpack(path.read_bytes())
    return json.loads(metadata["history"])


def restore(path: Path, variables: list[keras.Variable]) -> None:
    """Load a checkpoint that `newest_sound` found."""
    assign(variables, unpack(path.read_bytes())[0], path)
