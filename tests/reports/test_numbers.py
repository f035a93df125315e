"""Numbers and intervals as JSON and as text."""

import math

from pneumonia.metrics.intervals import Interval
from pneumonia.reports.numbers import interval_text, json_interval, number_text, range_text


def test_an_interval_is_json_and_text():
    interval = json_interval(Interval(0.5, 0.25, 0.75))
    assert interval == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert interval_text(interval) == "0.500 (0.250 to 0.750)"
    assert range_text(0.25, 0.75) == "0.250 to 0.750"


def test_what_is_not_measurable_is_null_and_says_so():
    nothing = json_interval(Interval(math.nan, math.nan, math.inf))
    assert nothing == {"value": None, "low": None, "high": None}
    assert interval_text(nothing) == "not measurable"
    assert interval_text({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert number_text(None) == "-" and number_text(None, "nothing predicted") == "nothing predicted"
