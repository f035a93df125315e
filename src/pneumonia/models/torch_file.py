"""Read the tensors of a PyTorch file of the old format (before 1.6), without PyTorch and without running its code.

The file holds three pickles (a magic number, a version, the machine's type sizes), the pickled state dictionary, the
pickled list of its storages, and then each storage: its number of elements and its bytes.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from pneumonia.system.errors import bad_input

MAGIC_NUMBER, VERSION = 0x1950A86A20F9469CFC6C, 1001
TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
MAX_ELEMENTS = 2**31  # of one storage; a larger count is a damaged file


class Storage(NamedTuple):
    key: str
    type: np.dtype
    elements: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides are counted in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, values: np.ndarray) -> np.ndarray:
        """Return a copy of the view. Raises ValueError where it reaches outside the storage."""
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides))
        if self.offset < 0 or min(self.strides, default=0) < 0 or last >= len(values):
            raise ValueError(f"a tensor of {self.shape} is larger than its storage of {len(values)} elements")
        strides = [step * values.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides).copy()


def rebuild_tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_) -> Tensor:
    return Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class TensorUnpickler(pickle.Unpickler):
    """Knows tensors, their two types of storage and OrderedDict; every other name in the file is refused."""

    NAMES: dict[tuple[str, str], Callable[..., Any] | str] = {  # noqa: RUF012
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        **{("torch", name): name for name in TYPES},
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.NAMES:
            raise pickle.UnpicklingError(f"it wants to use {module}.{name}")
        return self.NAMES[module, name]

    def persistent_load(self, reference: tuple) -> Storage:
        kind, type_name, key, _, elements, _ = reference
        if kind != "storage" or type_name not in TYPES or not 0 <= elements < MAX_ELEMENTS:
            raise pickle.UnpicklingError(f"it has a storage of another kind: {reference!r:.80}")
        return Storage(key, TYPES[type_name], elements)


def read_torch_file(file: Path) -> dict[str, np.ndarray]:
    """Return the file's tensors by name, in its order.

    Raises:
        BadInput: the file is damaged, of another format, or names anything else than tensors; nothing of it is run.
    """
    try:
        with file.open("rb") as stream:
            return read_stream(stream)
    except (pickle.UnpicklingError, ValueError, TypeError, KeyError, EOFError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:160]
        what = f"is not a PyTorch file of tensors in the format before PyTorch 1.6 ({reason})"
        raise bad_input(file, what, "take the file as it was published") from error


def read_stream(stream: BinaryIO) -> dict[str, np.ndarray]:
    if TensorUnpickler(stream).load() != MAGIC_NUMBER or TensorUnpickler(stream).load() != VERSION:
        raise ValueError("another format")
    if TensorUnpickler(stream).load()["little_endian"] is not True:
        raise ValueError("big-endian")
    tensors, keys = TensorUnpickler(stream).load(), TensorUnpickler(stream).load()
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError("not a dictionary of tensors")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    values = {key: read_storage(stream, storages[key]) for key in keys}
    return {name: tensor.array(values[tensor.storage.key]) for name, tensor in tensors.items()}


def read_storage(stream: BinaryIO, storage: Storage) -> np.ndarray:
    count = int.from_bytes(stream.read(8), "little")
    data = stream.read(storage.elements * storage.type.itemsize)
    if count != storage.elements or len(data) != count * storage.type.itemsize:
        raise ValueError("it is cut short")
    return np.frombuffer(data, storage.type)
