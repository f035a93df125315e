"""progress.json: how far a run's training is, for the live table of jobs and `./run.sh runs`; removed when it ends."""

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "progress.json"
SECONDS_BETWEEN = 2.0  # within an epoch


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    epoch: the current one, from 1. step: steps done of it. loss: mean of the epoch so far. seconds_left: of training.
    time: when it was written, in seconds since 1970.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float
    time: float = 0.0

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Epoch, loss, speed and time left as text."""
        epoch = f"{self.epoch}/{self.epochs}"
        if self.step < self.steps:
            epoch += f" ({self.step / self.steps:.0%})"
        return epoch, f"{self.loss:.4f}", f"{self.images_per_second:.1f}", format_duration(self.seconds_left)


def format_duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def write_progress(folder: Path, progress: Progress) -> None:
    """Write progress.json. A disk that cannot be written must not end a training, so that nothing is raised then."""
    temporary = folder / f".{NAME}.{os.getpid()}.tmp"
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(asdict(progress) | {"time": time.time()}), encoding="utf-8")
        temporary.replace(folder / NAME)


def read_progress(folder: Path) -> Progress | None:
    """Read progress.json; None where there is none, or it is of another version."""
    try:
        return Progress(**json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def remove_progress(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)
