"""What ./run.sh test relies on: tests of one group run in one process."""

import subprocess
import sys

SOURCE = """
import os, pytest

@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(8))
def test_one(number):
    with open("workers", "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_a_group_stays_in_one_process(tmp_path):
    (tmp_path / "test_group.py").write_text(SOURCE)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len(set((tmp_path / "workers").read_text().split())) == 1
