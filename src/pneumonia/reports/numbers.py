"""Numbers and intervals of the reports, as JSON (null if not measurable) and as text."""

import math

from pneumonia.metrics.intervals import Interval

NOT_MEASURABLE = "not measurable"


def json_number(value: float) -> float | None:
    """Return None for NaN and infinity, which JSON does not have."""
    return float(value) if math.isfinite(value) else None


def json_interval(interval: Interval) -> dict:
    """Return {value, low, high}."""
    return {name: json_number(getattr(interval, name)) for name in ("value", "low", "high")}


def number_text(value: float | None, missing: str = "-") -> str:
    return f"{value:.3f}" if has_value(value) else missing


def range_text(low: float | None, high: float | None) -> str:
    return f"{low:.3f} to {high:.3f}" if has_value(low) and has_value(high) else "no interval"


def has_value(number: float | None) -> bool:
    return number is not None and not math.isnan(number)


def interval_text(interval: dict) -> str:
    """Format a `json_interval`, with its range if it has one."""
    if not has_value(interval["value"]):
        return NOT_MEASURABLE
    value = number_text(interval["value"])
    return value if not has_value(interval["low"]) else f"{value} ({range_text(interval['low'], interval['high'])})"
