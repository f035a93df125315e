"""The tables of docs/reading.md are those of the tests."""

from pathlib import Path

import pytest
from test_dicom_pixels import CASES
from test_dicom_refusals import REFUSED

PAGE = Path(__file__).parents[2] / "docs" / "reading.md"
TABLES = {
    "cases": ["| case | read |", "|---|---|", *(f"| {name} | {how} |" for name, (_, _, how) in CASES.items())],
    "refused": ["| file | message |", "|---|---|", *(f"| {name} | {said} |" for name, (_, said) in REFUSED.items())],
}


@pytest.mark.parametrize("name", TABLES)
def test_table(name):
    text = PAGE.read_text(encoding="utf-8")
    _, _, rest = text.partition(f"<!-- {name} -->\n")
    assert rest.partition(f"<!-- end of {name} -->")[0].strip().splitlines() == TABLES[name]
