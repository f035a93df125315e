"""Read a large JSON file, of tens of megabytes, without holding its content twice."""

import json
import mmap
from collections.abc import Callable
from pathlib import Path

from pneumonia.system.csv_rows import read_text
from pneumonia.system.errors import bad_input


def parse_json(path: Path, fix: str, object_hook: Callable[[dict], object] | None = None, code: str = "json"):
    """Parse a JSON file, plain or gzip.

    Args:
        fix: for messages.
        object_hook: replaces each object as soon as it is parsed, so that only what is needed stays in memory.

    Raises:
        BadInput: the file cannot be read, or is not UTF-8 or JSON.
    """
    try:
        return json.loads(_text_of(path), object_hook=object_hook)
    except (json.JSONDecodeError, RecursionError) as error:
        raise bad_input(path, "is not JSON", fix, getattr(error, "lineno", None), code) from error


def _text_of(path: Path) -> str:
    """The file's text. It is decoded from the mapped file: read() would hold bytes and text at the same time."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[:2] != b"\x1f\x8b":
                return str(content, "utf-8-sig")
    except (OSError, ValueError):
        pass  # not there, empty, no file, or not UTF-8: read_text says what
    return read_text(path)
