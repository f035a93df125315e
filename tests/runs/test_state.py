"""The state of a run from its folder, and progress.json."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pneumonia import config
from pneumonia.runs.history import write_history
from pneumonia.runs.progress_file import Progress, format_duration, read_progress, remove_progress, write_progress
from pneumonia.runs.run import Run
from pneumonia.runs.state import find_runs, state_of
from pneumonia.system.files import write_json

PROGRESS = Progress(2, 4, 30, 40, 0.5, 12.25, 75.4)


@pytest.fixture
def run(tmp_path):
    """A prepared run of the smoke preset, with `epochs` of 1."""
    run = Run(tmp_path / "data" / "experiment" / "fold0")
    run.write_settings(config.read_experiment("mobilenet_unet", "smoke"), {"fold": 0})
    return run


def finish(run):
    run.weights.write_bytes(b"weights")
    run.table("oof", "localizer").write_text("patientId,PredictionString\n")
    run.finish("localizer", 1.0, {"oof": run.table("oof", "localizer")}, {})


def described(run, **settings):
    state = state_of(run, **settings)
    return state.name, state.epoch, state.epochs, state.detail


def test_a_run_from_its_start_to_its_end(run, tmp_path):
    assert [found.folder for found in find_runs(tmp_path)] == [run.folder]
    assert described(run) == ("not started", 0, 1, "")
    write_json(run.folder / "environment.json", {})
    assert described(run) == ("stopped", 0, 1, "in its first epoch")
    write_history(run.folder, [{"epoch": 1}])
    assert described(run) == ("stopped", 1, 1, "after epoch 1")
    run.weights.write_bytes(b"weights")
    assert described(run) == ("stopped", 1, 1, "trained, its predictions are missing")
    finish(run)
    assert described(run, verify=True) == ("finished", 1, 1, "")


def test_what_is_damaged(run):
    finish(run)
    run.weights.write_bytes(b"changed")
    assert described(run)[0] == "finished" and described(run, verify=True)[3] == "weights.safetensors has changed"
    run.weights.unlink()
    assert described(run)[::3] == ("damaged", "weights.safetensors is missing")
    run.table("oof", "localizer").write_text("x")
    assert described(run)[::3] == ("damaged", "oof_detections.csv has changed")
    run.table("oof", "localizer").unlink()
    assert described(run)[::3] == ("damaged", "oof_detections.csv is missing")
    (run.folder / "done.json").write_text("{")
    assert described(run)[3] == "done.json cannot be read (JSONDecodeError)"
    run.settings_file.write_text("]")
    assert described(run)[::3] == ("damaged", "config.yaml or metrics.jsonl cannot be read (BadInput)")


def test_a_process_that_holds_the_run(run):
    """The lock names a process of this program; another program that got its number is none."""
    lock = run.folder / "lock"
    script = "import sys; sys.stdin.read()"
    for word, expected in (("pneumonia", "going"), ("other", "not started")):
        with subprocess.Popen([sys.executable, "-c", script, word], stdin=subprocess.PIPE) as process:
            lock.write_text(str(process.pid))
            assert state_of(run).name == expected or not Path("/proc/self").exists()
            process.stdin.close()
    assert state_of(run).name == "not started"  # the process has ended


def test_progress_of_another_machine(run):
    write_progress(run.folder, PROGRESS)
    state = state_of(run)
    assert state.name == "going" and state.progress.cells == ("2/4 (75%)", "0.5000", "12.2", "1 min 15 s")
    write_json(run.folder / "progress.json", vars(PROGRESS) | {"time": time.time() - 3600})
    assert state_of(run).name == "not started"


def test_progress_never_fails(run, tmp_path):
    write_progress(tmp_path / "no such folder", PROGRESS)
    assert read_progress(tmp_path) is None
    (tmp_path / "progress.json").write_text('{"epoch": 1}')
    assert read_progress(tmp_path) is None
    remove_progress(tmp_path)
    remove_progress(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_durations():
    assert [format_duration(seconds) for seconds in (9.9, 61, 3661)] == ["9 s", "1 min 01 s", "1 h 01 min"]
