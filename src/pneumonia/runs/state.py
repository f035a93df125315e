"""The state of a run, from its folder alone: finished, going, stopped, damaged. Nothing is locked or changed."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pneumonia import config
from pneumonia.runs.history import read_history
from pneumonia.runs.progress_file import Progress, read_progress
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput
from pneumonia.system.files import sha256

FINISHED, GOING, STOPPED, WAITING, DAMAGED = STATES = ("finished", "going", "stopped", "not started", "damaged")
FRESH = 120.0  # seconds: training on another machine that wrote its progress since then is going


@dataclass(frozen=True)
class State:
    """name: one of STATES. epoch, epochs: done, of all. detail: what is missing, or where it stopped."""

    name: str
    epoch: int
    epochs: int | None
    detail: str = ""
    progress: Progress | None = None


def find_runs(root: Path) -> list[Run]:
    """Every run below a folder, ordered by path."""
    return [Run(file.parent) for file in sorted(root.rglob("config.yaml"))]


def state_of(run: Run, verify: bool = False) -> State:
    """Find a run's state.

    Args:
        verify: read the weights and compare them with their checksum.
    """
    progress = read_progress(run.folder)
    try:
        settings = config.read_yaml(run.settings_file)
        epochs = settings["epochs"]
        epoch = len(read_history(run.folder))
    except (BadInput, ValueError, KeyError, TypeError, OSError) as error:
        return State(DAMAGED, 0, None, f"config.yaml or metrics.jsonl cannot be read ({type(error).__name__})")
    if run.is_marked:
        fault = fault_of(run, verify)
        return State(DAMAGED if fault else FINISHED, epoch, epochs, fault)
    if is_going(run, progress):
        return State(GOING, epoch, epochs, progress=progress)
    if run.weights.exists():
        return State(STOPPED, epoch, epochs, "trained, its predictions are missing")
    if not epoch:
        is_begun = (run.folder / "environment.json").exists()
        return State(STOPPED if is_begun else WAITING, 0, epochs, "in its first epoch" if is_begun else "")
    return State(STOPPED, epoch, epochs, f"after epoch {epoch}")


def fault_of(run: Run, verify: bool) -> str:
    """What a finished run lacks; "" if nothing."""
    try:
        done = run.done()
        tables = done["tables"].values()
        for table in tables:
            file = run.folder / table["file"]
            if not file.is_file():
                return f"{table['file']} is missing"
            if sha256(file) != table["sha256"]:
                return f"{table['file']} has changed"
        if not run.weights.is_file():
            return f"{run.weights.name} is missing"
        if verify and sha256(run.weights) != done["weights_sha256"]:
            return f"{run.weights.name} has changed"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"done.json cannot be read ({type(error).__name__})"
    return ""


def is_going(run: Run, progress: Progress | None) -> bool:
    """Whether a process holds the run: that whose number is in its lock file, or one elsewhere that reports progress.

    The lock itself is not tried: a process that starts in that moment would find it held.
    """
    if progress is not None and time.time() - progress.time < FRESH:
        return True
    with contextlib.suppress(OSError, ValueError):
        number = int((run.folder / "lock").read_text(encoding="utf-8"))
        command = Path(f"/proc/{number}/cmdline")
        if command.parent.parent.joinpath("self").exists():  # Linux: another program may have got the number since
            return b"pneumonia" in command.read_bytes()
        os.kill(number, 0)
        return True
    return False
