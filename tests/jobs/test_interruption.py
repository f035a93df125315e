"""Jobs whose driver is stopped, killed, or sits at a terminal."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.files import exclusive_lock

REPOSITORY = Path(__file__).resolve().parents[2]
DRIVER = str(Path(__file__).with_name("driver.py"))
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def start(executor, folder, *words, **options):
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "CUDA_VISIBLE_DEVICES": "", "TERM": "xterm"}
    command = [sys.executable, "-P", DRIVER, executor, str(folder), *words]
    return subprocess.Popen(command, env=env, start_new_session=True, **{"stderr": subprocess.PIPE, **options})


def wait_for(condition):
    while not condition():  # pytest's own time limit ends a test that hangs
        time.sleep(0.05)


def begun(executor, folder, *words):
    """A driver, its first job (`a`) being in the middle."""
    (folder / "a").mkdir()
    (folder / "a" / "pause").touch()
    driver = start(executor, folder, *words)
    wait_for((folder / "a" / "paused").exists)
    return driver


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_ctrl_c_reaches_the_job_and_the_same_command_goes_on(executor, tmp_path):
    """Only the driver gets the signal, so it is the driver that passes it on."""
    words = ("a pause=3, b",) if executor == "local" else ("a pause=3",)
    driver = begun(executor, tmp_path, *words)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate()
    assert driver.returncode == 130
    assert (tmp_path / "a" / "interrupted").exists()
    assert b"Traceback" not in said
    if executor == "local":
        assert b"0 done, 0 failed, 1 stopped, 1 not started" in said
    (tmp_path / "a" / "pause").unlink()
    again = start("local", tmp_path, *words)
    said = again.communicate()[1]
    assert again.returncode == 0 and b"from step 3 of 6" in said


def test_a_second_driver_is_refused_and_the_first_ones_log_stays_whole(tmp_path):
    """Each shows its own part of the log only, from its own beginning on."""
    first = begun("local", tmp_path, "a pause=3, b")
    second = start("local", tmp_path, "a pause=3, b")
    said = second.communicate()[1]
    assert second.returncode == 3
    assert b"is held by process" in said and b"from step 0 of 6" not in said.split(b"a: failed")[0]
    (tmp_path / "a" / "pause").unlink()
    assert b"[2/2] b: done" in first.communicate()[1] and first.returncode == 0
    lines = (tmp_path / "a" / "train.log").read_text().splitlines()
    assert lines[0].startswith("-- attempt 1,") and lines[1] == "from step 0 of 6"
    assert sum(line.startswith("-- attempt 1,") for line in lines) == 2
    again = start("local", tmp_path, "a, b")
    assert b"from step 0 of 6" not in again.communicate()[1]


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_killed_driver_leaves_no_orphan_that_holds_the_run(executor, tmp_path, monkeypatch):
    temporary = tempfile.mkdtemp(prefix="t-")  # a killed driver cannot remove Ray's files; tmp_path is too long for Ray
    monkeypatch.setenv("TMPDIR", temporary)
    driver = begun(executor, tmp_path, "a pause=3")
    driver.kill()
    driver.wait()

    def is_free():
        try:
            with exclusive_lock(tmp_path / "a" / "lock", "test"):
                return True
        except EnvironmentFailure:
            return False

    wait_for(is_free)
    shutil.rmtree(temporary, ignore_errors=True)
    assert not (tmp_path / "a" / "weights").exists()


def test_on_a_terminal_the_table_is_redrawn(tmp_path):
    ours, theirs = pty.openpty()
    driver = start("local", tmp_path, "first, second exit=7", stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
    assert driver.wait() == 3
    text = said.decode()
    assert "\x1b[" in text and "waiting" in text and "running since" in text
    assert "2 jobs: 1 running, 1 done" in text
    last = text[text.rindex("first") :]
    assert "done" in last and "failed" in last
    assert "this job fails" in text and str(tmp_path / "second") in text.replace("\r\n", "")


def test_bad_input_of_every_job_is_exit_code_2(tmp_path):
    driver = start("local", tmp_path, "a exit=2, b exit=2")
    driver.communicate()
    assert driver.returncode == 2


def test_no_cluster_at_the_address(tmp_path):
    code = (
        "import sys; from pneumonia.jobs.executors import run_all; from pneumonia.jobs.job import TrainJob;"
        "from pathlib import Path; run_all([TrainJob('a', Path(sys.argv[1]), ('true',))], 'ray', '127.0.0.1:1')"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], env=env, capture_output=True, check=False)
    assert done.returncode != 0 and b"BadInput" in done.stderr and b"no cluster answers at 127.0.0.1:1" in done.stderr


def test_ray_is_imported_only_when_it_is_chosen():
    code = (
        "import sys, pneumonia.jobs.executors, pneumonia.jobs.local; "
        "sys.exit(any(name in sys.modules for name in ('ray', 'keras', 'tensorflow')))"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    assert subprocess.run([sys.executable, "-P", "-c", code], env=env, check=False).returncode == 0
