"""What `predict` holds in memory and on disk while it reads, whatever the number of files."""

import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pneumonia.data import radiographs
from pneumonia.data.image_files import read_scaled
from pneumonia.data.radiographs import Radiographs
from pneumonia.system.errors import EnvironmentFailure

SIDE = 1200


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A 16-bit PNG that decodes to 2.9 MB."""
    path = tmp_path_factory.mktemp("large") / "a.png"
    cv2.imwrite(str(path), np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint16))
    return path


def test_memory_does_not_grow_with_the_number_of_files(large, tmp_path):
    peaks = {}
    for count in (1, 40):
        folder = tmp_path / str(count)
        folder.mkdir()
        tracemalloc.start()
        read = Radiographs({str(number): large for number in range(count)}, [64], folder, threads=2)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(read.ids) == count and read.sizes.tolist() == [[SIDE, SIDE]] * count
    # Two threads hold two files at most, however many there are.
    assert peaks[40] < 2.2 * peaks[1] < 60e6


def test_no_more_files_are_decoded_at_once_than_threads_were_asked_for(large, tmp_path, monkeypatch):
    lock, active, most = threading.Lock(), [0], [0]

    def counting(path, size):
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        found = read_scaled(path, size)
        with lock:
            active[0] -= 1
        return found

    monkeypatch.setattr(radiographs, "read_scaled", counting)
    Radiographs({str(number): large for number in range(12)}, [64], tmp_path, threads=2)
    assert most[0] == 2


def test_each_file_is_read_once_for_all_models_of_a_size(large, tmp_path, monkeypatch):
    sizes = []

    def counting(path, size):
        sizes.append(size)
        return read_scaled(path, size)

    monkeypatch.setattr(radiographs, "read_scaled", counting)
    read = Radiographs({"a": large, "b": large}, [64, 224, 300, 512], tmp_path)
    assert sorted(sizes) == [256, 256, 512, 512]
    assert [read.images(size).pixels[1].shape for size in (64, 300)] == [(64, 64), (300, 300)]


def test_squares_are_those_of_their_image_where_others_are_left_out(large, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(large.read_bytes()[:-1000])
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.eye(256, dtype=np.uint8) * 255)
    (tmp_path / "squares").mkdir()
    read = Radiographs({"x": damaged, "a": large, "y": damaged, "b": small}, [256], tmp_path / "squares")
    assert read.ids == ["a", "b"] and [fault.file for fault in read.damaged] == [str(damaged)] * 2
    images = read.images(256)
    for row, path in enumerate((large, small)):
        np.testing.assert_array_equal(images.pixels[row], read_scaled(path, 256)[0])
    assert images.sizes.tolist() == [[SIDE, SIDE], [256, 256]]


def test_a_disk_that_would_be_full_is_refused_before_reading(large, tmp_path, monkeypatch):
    monkeypatch.setattr(radiographs.shutil, "disk_usage", lambda _: SimpleNamespace(free=256**2))
    with pytest.raises(
        EnvironmentFailure, match="2 images need 0 MB there and 0 MB are free; free space, or set TMPDIR"
    ):
        Radiographs({"a": large, "b": large}, [256], tmp_path)
    assert not list(tmp_path.iterdir())
