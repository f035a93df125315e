"""The command line as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*words, **env):
    command = [sys.executable, "-P", "-m", "pneumonia", *words]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)
