import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.files import atomic_write, exclusive_lock, sha256, write_json
from pneumonia.system.json_values import without_nan


def test_a_file_appears_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "before"
    with atomic_write(path) as file:
        file.write("after\n")
    assert path.read_bytes() == b"after\n"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    code = (
        "import os, signal; from pneumonia.system.files import atomic_write\n"
        f"with atomic_write({str(path)!r}) as file:\n"
        "    file.write('half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = Path(__file__).resolve().parents[2] / "src"
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(source)}, check=False)
    assert killed.returncode == -9
    assert path.read_text() == "before"


def test_a_folder_or_a_name_below_a_file_is_bad_input(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("before")
    for path in (tmp_path / "folder", tmp_path / "file" / "table.csv"):
        with pytest.raises(BadInput, match="choose another out="), atomic_write(path) as file:
            file.write("text")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_full_disk_is_a_surrounding(tmp_path):
    with pytest.raises(EnvironmentFailure, match="free space"), atomic_write(tmp_path / "a") as file:
        file.write("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_json_has_null_for_nan_numbers_for_numpy_and_absolute_paths(tmp_path):
    value = {"score": float("nan"), "scores": np.array([0.5, np.nan], np.float32), "one": np.float32("nan")}
    write_json(tmp_path / "a.json", value | {"rows": (1.0, float("nan")), "file": tmp_path / "b"})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "score": None, "scores": [0.5, None], "one": None, "rows": [1.0, None], "file": str(tmp_path / "b"),
    }  # fmt: skip


def test_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_second_process_is_told_who_holds_it(tmp_path):
    with exclusive_lock(tmp_path / "lock", "the run"):
        lock = str(tmp_path / "lock")
        code = f"from pneumonia.system.files import exclusive_lock\nwith exclusive_lock({lock!r}, 'the run'): pass"
        source = Path(__file__).resolve().parents[2] / "src"
        second = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode != 0
        assert f"held by process {os.getpid()}" in second.stderr
    with exclusive_lock(tmp_path / "lock", "the run"):
        pass


def test_a_lock_in_a_folder_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(EnvironmentFailure, match="cannot be written"),
        exclusive_lock(tmp_path / "file" / "run" / "lock", "a run"),
    ):
        pass


def test_what_was_not_measurable_is_null():
    value = {"auc": float("nan"), "members": [{"low": np.float64("nan"), "high": 0.5}], "name": "a"}
    assert without_nan(value) == {"auc": None, "members": [{"low": None, "high": 0.5}], "name": "a"}
