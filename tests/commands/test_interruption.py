"""The main job interrupted as people and machines interrupt it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def start(*words):
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    command = [sys.executable, "-P", "-m", "pneumonia", *words]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_ctrl_c_stops_every_job_and_says_how_to_go_on(tmp_path):
    """A run of its own (another seed), so that there is something to train."""
    job = start("fold=0", "data=demo", "preset=smoke", "seed=11", f"out={tmp_path}")
    said = []
    for line in job.stderr:
        said.append(line)
        if "training images" in line:  # the first of three trainings has begun
            break
    started = time.monotonic()
    os.killpg(job.pid, signal.SIGINT)  # what a terminal does with Ctrl-C
    said += job.stderr.readlines()
    assert job.wait(60) == 130, "".join(said)
    text = "".join(said)
    stopped, waiting = map(int, re.search(r"jobs: 0 done, 0 failed, (\d) stopped, (\d) not started", text).groups())
    assert stopped + waiting == 3 and text.count("training images") <= stopped  # none has begun since
    assert "run the same command again to continue" in text
    assert "Traceback" not in text
    assert time.monotonic() - started < 60
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]  # no submission, nothing half-written
    assert "0 of 3 networks are trained" in (tmp_path / "report.html").read_text()
