"""Process-wide switches: set in one place, in the main process and in every worker."""

import os
import re
import subprocess
import sys
from pathlib import Path

from pneumonia.system.processes import map_in_processes
from pneumonia.system.switches import SWITCHES

SOURCE = Path(__file__).resolve().parents[2] / "src"
CODE = """
import pneumonia.system.switches as switches
switches.set_switches()
import cv2, matplotlib
print(cv2.getNumThreads(), matplotlib.get_backend())
"""


def test_libraries_follow_them():
    env = {name: value for name, value in os.environ.items() if name not in SWITCHES} | {"PYTHONPATH": str(SOURCE)}
    said = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "agg"]
    said = subprocess.run(
        [sys.executable, "-c", CODE], env=env | {"MPLBACKEND": "svg"}, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["1", "svg"]  # what the user has set stays


def test_workers_have_them(monkeypatch):
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM")
    assert list(map_in_processes(os.getenv, ["OPENCV_FOR_THREADS_NUM"], 1)) == ["1"]


def test_nothing_else_in_the_package_sets_one():
    names = "|".join([*SWITCHES, "SM_FRAMEWORK", r"setNumThreads", r"matplotlib\.use"])
    with_one = {file.name for file in SOURCE.rglob("*.py") if re.search(names, file.read_text("utf-8"))}
    assert with_one == {"switches.py"}
