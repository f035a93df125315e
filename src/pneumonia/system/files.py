"""Atomic writing of files, JSON files, checksums and lock files."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from pneumonia.system.errors import EnvironmentFailure, bad_input
from pneumonia.system.json_values import to_json_type, without_nan
from pneumonia.system.progress import say

FREE_SPACE = "free space or choose out="
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open `path` for writing so that it appears complete or stays as it was.

    Writes to a temporary file in the same folder, flushes it to disk and renames it.

    Args:
        mode: "w" (UTF-8 text, "\\n" line ends) or "wb".

    Raises:
        EnvironmentFailure: the disk is full or the folder cannot be written.
        BadInput: there is a folder of that name, or a file where its folder would be.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise EnvironmentFailure(f"{path}: cannot be written: {error.strerror}; {FREE_SPACE}") from error
        if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise bad_input(path, f"is not a usable file name ({error.strerror})", "choose another out=") from error
        raise
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path, replace: bool) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends without an error.

    Args:
        replace: whether a folder of that name may be replaced.

    Raises:
        BadInput: `path` is a file, or a folder that is not empty.
        EnvironmentFailure: it cannot be written.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not replace):
        raise bad_input(path, "exists and is not an empty folder", "give out= the name of a new folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        raise EnvironmentFailure(f"{path}: cannot be written: {error.strerror or error}; {FREE_SPACE}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | Path, value) -> None:
    with atomic_write(path) as file:
        json.dump(without_nan(value), file, indent=1, allow_nan=False, default=to_json_type)
        file.write("\n")


def read_json(path: str | Path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """All of `data`; written, not memory-mapped, because a full disk kills a process that writes into a map."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def exclusive_lock(path: str | Path, what: str, waits: bool = False) -> Iterator[None]:
    """Hold a lock file while the block runs. When the process ends, for any reason, the kernel releases it.

    Args:
        what: the name of what the lock guards, for messages.
        waits: print a line and wait for the process that holds it, instead of raising.

    Raises:
        EnvironmentFailure: another process holds it (its number is in the message), or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            holder = path.read_text("utf-8").strip() or "unknown"
            if not waits:
                text = f"{path.parent}: {what} is held by process {holder}; wait for it or end it"
                raise EnvironmentFailure(text) from None
            say(f"{path.parent}: waiting for process {holder}, which holds {what}")
            lock.acquire()
    except OSError as error:
        raise EnvironmentFailure(f"{path.parent}: cannot be written: {error.strerror}; {FREE_SPACE}") from error
    try:
        with contextlib.suppress(OSError):  # on a full disk the message of the next process lacks the holder's number
            path.write_text(str(os.getpid()), "utf-8")
        yield
    finally:
        lock.release()
