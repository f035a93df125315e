"""What the pages of the main job say of people."""

import pytest

from pneumonia.reports.leaks import leak_text, people_text, unit_of


@pytest.mark.parametrize(
    ("leaking", "people", "leak", "unit"),
    [
        (0, "7 people", "nobody is both held out and in training", "people"),
        (3, "7 people", "3 people are in more than one part of the split, and scores come out too high", "people"),
        (None, "unknown people", "somebody may be both held out and in training", "images"),
    ],
)
def test_a_page_promises_no_more_than_the_tables_say(leaking, people, leak, unit):
    result = {"people_held_out": 7, "leaking_people": leaking}
    assert (people_text(result), unit_of(result)) == (people, unit) and leak in leak_text(result)
