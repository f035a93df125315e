"""One (experiment, fold) job: the command line that trains it, the folder it trains in, and how it ended."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pneumonia.config import REPOSITORY
from pneumonia.system.allocator import with_allocator

LOG = "train.log"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")  # NPROC: JAX's


@dataclass(frozen=True)
class TrainJob:
    """One run to train, in a process of its own.

    Attributes:
        title: its name for people.
        folder: the run's folder; the job's log is written there, and its lock is `folder/lock`.
        command: the command line, the same on this machine and on a cluster.
        gpus: GPUs it shares its batches over, where there are GPUs.
    """

    title: str
    folder: Path
    command: tuple[str, ...]
    gpus: int = 1

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @property
    def lock(self) -> Path:
        return self.folder / "lock"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its exit code (negative: the signal that killed it), or None where its worker was lost."""

    code: int | None
    note: str = ""

    def __str__(self) -> str:
        said = f"exit code {self.code}" if self.code is not None else "its worker was lost"
        return f"{said}, {self.note}" if self.note else said


def train_command(folder: Path) -> tuple[str, ...]:
    """The command line that trains the run which lies prepared in `folder`."""
    return (sys.executable, "-P", "-m", "pneumonia", "train_run", f"run={folder.absolute()}")


def job_environment(threads: int = 0) -> dict[str, str]:
    """This process's environment for its jobs, with the allocator that trains fastest (system/allocator.py).

    Args:
        threads: of one job, 0 to leave the number to the libraries (one per core). It changes bits.
    """
    source = str(REPOSITORY / "src")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != source]
    environment = with_allocator(os.environ) | {"PYTHONPATH": os.pathsep.join([source, *paths])}
    if threads > 0:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    return environment
