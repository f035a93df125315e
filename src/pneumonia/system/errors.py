"""Errors of users: one clear line for a person and one exit code for a script."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One fault of one input: which file, which line of it (header = 1), what is wrong, how to fix it."""

    code: str
    file: str
    row: int | None
    what: str
    fix: str

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}:{self.row}"
        return f"error: {place}: {self.what}; {self.fix}"

    def as_json(self) -> dict:
        return asdict(self)


class BadInput(Exception):
    """The input is bad: exit code 2. Holds every fault, not only the first."""

    exit_code = 2

    def __init__(self, faults: list[Fault]):
        self.faults = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class EnvironmentFailure(Exception):
    """The environment is at fault (disk full, missing weights, GPU memory): exit code 3."""

    exit_code = 3


def bad_input(file: str | Path, what: str, fix: str, row: int | None = None, code: str = "bad-input") -> BadInput:
    """A BadInput of one fault, to raise."""
    return BadInput([Fault(code, str(file), row, what, fix)])


def run_checks(*checks: Callable[[], object]) -> None:
    """Run all checks. Raises BadInput with the faults of every one that raised it."""
    faults = []
    for check in checks:
        try:
            check()
        except BadInput as error:
            faults += error.faults
    if faults:
        raise BadInput(faults)
