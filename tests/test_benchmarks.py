"""Every benchmark still finds what it imports: they run by hand, seldom, long after a rename."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_it_imports(path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    parts = runpy.run_path(str(path), run_name=f"imported_{path.stem}")
    assert parts["__doc__"].strip(), "says what it measures and how to run it"
