"""What a setting is: its default, its line of `--help`, and the values that it takes, in one place."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Allowed:
    """The values that a setting takes: a range, with its ends (low, high) or without (above, below), or choices.

    Of a list each entry is meant; of a dictionary each key by `choices`, each value by the range.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()

    def fix(self, value: Any) -> str | None:
        """None where `value` is allowed, else what to give in its place. A number that is not finite never is."""
        if isinstance(value, dict):
            return next((text for each in (*value, *value.values()) if (text := self.fix(each))), None)
        if isinstance(value, list):
            return next((text for each in value if (text := self.fix(each))), None)
        if isinstance(value, str):
            return f"{nearest(value, self.choices)}" if self.choices and value not in self.choices else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        inside = (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )
        if inside:
            return None
        return f"give {'' if self.range[:1].isdigit() or self.range[:1] == '-' else 'a number '}{self.range}".rstrip()

    @property
    def range(self) -> str:
        """In words; empty where any number will do."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        ends = [f"{self.low:g} or more"] if self.low is not None else []
        ends += [f"above {self.above:g}"] if self.above is not None else []
        ends += [f"at most {self.high:g}"] if self.high is not None else []
        ends += [f"below {self.below:g}"] if self.below is not None else []
        return " and ".join(ends)

    def __str__(self) -> str:
        """For `--help` and the documentation; empty where anything will do."""
        return "; ".join(part for part in (", ".join(each for each in self.choices if each), self.range) if part)


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
):
    """A dataclass field: its default, its line of `--help`, and what it takes, as Allowed has it."""
    metadata = {"help": help, "allowed": Allowed(low, high, above, below, tuple(choices))}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def group(kind: type, help: str):
    """A dataclass field that holds settings of its own."""
    return field(default_factory=kind, metadata={"help": help})


def nearest(word: str, known: Sequence[str], prefix: str = "") -> str:
    """'did you mean ...?' where something is near, else what is known; `prefix` stands before each."""
    close = difflib.get_close_matches(word, known, n=1)
    close = close or [each for each in known if len(word) > 2 and word in each]  # rate, of learning_rate
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"known: {', '.join(prefix + each for each in known if each)}"
