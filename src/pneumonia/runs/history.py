"""Read and write metrics.jsonl, one line per epoch."""

import json
from pathlib import Path

from pneumonia.system.files import atomic_write


def read_history(folder: Path) -> list[dict]:
    """Return one dictionary per line of a run's metrics.jsonl; empty if the file does not exist."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_history(folder: Path, history: list[dict]) -> None:
    with atomic_write(folder / "metrics.jsonl") as file:
        file.writelines(json.dumps(line) + "\n" for line in history)
