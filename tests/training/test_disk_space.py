"""Room for a training, asked before it starts; and what happens where the disk fills up all the same."""

import errno
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from spots import SIZE, SpotClassifier, experiment, spot_samples

from pneumonia.runs import checkpoint
from pneumonia.runs.history import read_history
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.training import disk_space, loop


def train(folder):
    wanted = experiment()
    samples = spot_samples()
    return loop.train(wanted, SpotClassifier(wanted.model, SIZE), samples, samples, folder, "test")


def test_sizes_are_those_of_the_files(tmp_path):
    variables = [keras.Variable(np.zeros((100, 100), "float32")), keras.Variable(np.zeros((), "int64"))]
    path = checkpoint.write_checkpoint(tmp_path, 1, variables)
    assert disk_space.size_of(variables) == 40_008
    assert path.stat().st_size == pytest.approx(40_008, abs=1000)


def test_a_disk_too_small_is_said_before_the_first_step(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20 << 20))
    with pytest.raises(EnvironmentFailure, match=r"needs up to \d+ MiB, and 20 MiB are free"):
        train(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_folder_that_cannot_be_written_is_said_before_the_first_step(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(disk_space.Path, "write_bytes", refuse)
    with pytest.raises(EnvironmentFailure, match="cannot be written: Read-only file system"):
        train(tmp_path)


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    """The third checkpoint does not fit: two are kept, and with room again training goes on to the same history."""
    whole = train(tmp_path / "whole")
    monkeypatch.setattr("os.fsync", fails_on("epoch-00003"))
    with pytest.raises(EnvironmentFailure, match="No space left"):
        train(tmp_path / "full")
    monkeypatch.undo()
    assert [path.name[:11] for path in sorted((tmp_path / "full").glob("epoch-*"))] == ["epoch-00001", "epoch-00002"]
    assert not list((tmp_path / "full").glob(".*.tmp"))
    resumed = train(tmp_path / "full")
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), resumed.get_weights()))
    assert read_history(tmp_path / "whole") == read_history(tmp_path / "full")


def fails_on(name: str):
    """An fsync that finds the disk full when a file of this name is written."""
    real = os.fsync

    def fsync(descriptor):
        if name in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor)

    return fsync
