"""Definition of a setting in one place: its default, its line of `--help`, and its allowed values."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_SEED = 2**32 - 1  # of scikit-learn and Keras


@dataclass(frozen=True)
class Allowed:
    """Allowed values of a setting: a range that includes its ends (low, high) or not (above, below), or choices.

    They apply to each entry of a list; of a dictionary `choices` apply to the keys and the range to the values.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()

    def fix(self, value: Any) -> str | None:
        """None where `value` is allowed, else what to give instead. Infinity and NaN are never allowed."""
        if isinstance(value, dict):
            return next((text for each in (*value, *value.values()) if (text := self.fix(each))), None)
        if isinstance(value, list):
            return next((text for each in value if (text := self.fix(each))), None)
        if isinstance(value, str):
            return nearest(value, self.choices) if self.choices and value not in self.choices else None
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
        begins_with_number = self.range_text[:1].isdigit() or self.range_text[:1] == "-"
        return f"give {'' if begins_with_number else 'a number '}{self.range_text}".rstrip()

    @property
    def range_text(self) -> str:
        """The range in words; empty where every number is allowed."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        ends = [f"{self.low:g} or more"] if self.low is not None else []
        ends += [f"above {self.above:g}"] if self.above is not None else []
        ends += [f"at most {self.high:g}"] if self.high is not None else []
        ends += [f"below {self.below:g}"] if self.below is not None else []
        return " and ".join(ends)

    def __str__(self) -> str:
        """Text for `--help` and the documentation; empty where every value is allowed."""
        choices = ", ".join(choice for choice in self.choices if choice)
        return "; ".join(part for part in (choices, self.range_text) if part)


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
    """A dataclass field with its default, its line of `--help` and its allowed values (see Allowed)."""
    metadata = {"help": help, "allowed": Allowed(low, high, above, below, tuple(choices))}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def group(kind: type, help: str):
    """A dataclass field whose value is a dataclass of settings."""
    return field(default_factory=kind, metadata={"help": help})


def nearest(word: str, known: Sequence[str], prefix: str = "") -> str:
    """'did you mean ...?' for the known word nearest to `word`, else the list of known words, each after `prefix`."""
    close = difflib.get_close_matches(word, known, n=1)
    close = close or [each for each in known if len(word) > 2 and word in each]  # such as rate in learning_rate
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"known: {', '.join(prefix + each for each in known if each)}"
