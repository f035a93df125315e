"""One (experiment, fold) job: its command line, its folder, and its outcome."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pneumonia.config import REPOSITORY
from pneumonia.system.allocator import with_allocator

LOG = "train.log"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")  # NPROC: JAX


@dataclass(frozen=True)
class TrainJob:
    """One run to train, in a process of its own.

    Attributes:
        title: its name in messages.
        folder: the run's folder, with the job's log and its lock, `folder/lock`.
        command: the command line, the same on this machine and on a cluster.
        gpus: number of GPUs that share its batches, where there are GPUs.
        memory: that it takes on a CPU, in GiB, estimated; 0: so little that it does not count.
    """

    title: str
    folder: Path
    command: tuple[str, ...]
    gpus: int = 1
    memory: float = 0.0

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
        text = f"exit code {self.code}" if self.code is not None else "its worker was lost"
        return f"{text}, {self.note}" if self.note else text


def train_command(folder: Path) -> tuple[str, ...]:
    """The command line that trains the run prepared in `folder`."""
    return (sys.executable, "-P", "-m", "pneumonia", "train_run", f"run={folder.absolute()}")


def job_environment(threads: int = 0) -> dict[str, str]:
    """The environment of jobs: this process's, with the fastest allocator for training (system/allocator.py).

    Args:
        threads: threads of one job; 0: the libraries' default, one per core. The number changes bits of the results.
    """
    source = str(REPOSITORY / "src")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != source]
    environment = with_allocator(os.environ) | {"PYTHONPATH": os.pathsep.join([source, *paths])}
    if threads > 0:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    return environment
