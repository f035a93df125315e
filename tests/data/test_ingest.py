"""Ingest interrupted, damaged, doubled, on a full disk and on changed files."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pydicom
import pytest

from pneumonia import config
from pneumonia.data import cache as layout
from pneumonia.data import ingest as module
from pneumonia.data.cache import Cache, Damaged
from pneumonia.data.competition import open_competition
from pneumonia.data.ingest import ingest
from pneumonia.demo.competition import generate
from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.files import exclusive_lock

TRAIN, TEST, SIZE = 20, 5, 64
ALONE = """
import sys
from pneumonia.data import ingest
from pneumonia.data.competition import open_competition
if __name__ == "__main__":
    folder, cache, size, workers, block = sys.argv[1:]
    ingest.BLOCK = int(block)
    print(len(ingest.ingest(open_competition(folder), int(size), int(workers), cache)))
"""


SLOWLY = """
import sys
import time
from pneumonia import cli
from pneumonia.data import ingest
ingest.BLOCK, quickly = 1, ingest.read_image
def slowly(*arguments):
    time.sleep(0.05)
    return quickly(*arguments)
ingest.read_image = slowly
if __name__ == "__main__":
    sys.exit(cli.main(["ingest", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("competition") / "demo", TRAIN, TEST, workers=1)


@pytest.fixture
def copy(demo, tmp_path) -> Path:
    return shutil.copytree(demo, tmp_path / "copy")


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Ids of the images that are read in this process from now on."""
    images: list[str] = []
    genuine = module.read_image

    def counted(source, size):
        images.append(source.image)
        return genuine(source, size)

    monkeypatch.setattr(module, "read_image", counted)
    return images


def alone(demo: Path, cache: Path, size: int = SIZE, workers: int = 1, block: int = 2, **options) -> subprocess.Popen:
    """ingest in a process of its own, which reports to the journal every `block` images."""
    script = cache.parent / "alone.py"
    script.write_text(ALONE)
    command = [sys.executable, script, demo, cache, str(size), str(workers), str(block)]
    environment = os.environ | {"PYTHONPATH": str(config.REPOSITORY / "src")}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def expected(demo: Path, size: int = SIZE) -> dict[str, np.ndarray]:
    squares = {}
    for path in demo.glob("stage_2_*_images/*.dcm"):
        gray = pydicom.dcmread(path).pixel_array
        squares[path.stem] = cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA)
    return squares


def agrees(cache: Cache, demo: Path) -> None:
    squares = expected(demo, cache.size)
    assert sorted(squares) == sorted(cache.index["patientId"]) and cache.verify() == []
    for image, square in squares.items():
        difference = np.abs(cache.pixels[cache.row_of(image)].astype(int) - square)
        assert difference.mean() < 1.0  # scaled decoding is not quite full decoding


@pytest.mark.parametrize("workers", [1, 2])
def test_every_image_is_there_as_a_square(demo, tmp_path, workers):
    cache = ingest(open_competition(demo), SIZE, workers, tmp_path / "cache")
    assert cache.pixels.shape == (TRAIN + TEST, SIZE, SIZE)
    assert cache.index["split"].value_counts().to_dict() == {"train": TRAIN, "test": TEST}
    assert (cache.index[["rows", "columns"]] == 1024).all(axis=None)
    image = cache.index["patientId"][0]
    header = pydicom.dcmread(demo / "stage_2_train_images" / f"{image}.dcm")
    row = cache.index.iloc[0]
    assert (row["sex"], row["age"], row["view"]) == (
        header.PatientSex,
        float(header.PatientAge),
        header.ViewPosition,
    )
    agrees(cache, demo)


def test_what_is_there_is_not_read_again_and_another_size_is_refused(demo, tmp_path, read, monkeypatch):
    competition, folder = open_competition(demo), tmp_path / "cache"
    assert ingest(competition, SIZE, 1, folder).size == SIZE and len(read) == 25
    monkeypatch.setattr(layout, "intact_squares", lambda *_: pytest.fail("it looked at pixels"))
    assert ingest(competition, SIZE, 1, folder).size == SIZE and len(read) == 25
    assert sorted(path.name for path in folder.iterdir()) == ["cache.json", "index.csv", "lock", f"pixels-{SIZE}.u8"]
    with pytest.raises(BadInput, match="holds images of 64 x 64 pixels; choose another out="):
        ingest(competition, 32, 1, folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_several_moments_it_goes_on_where_it_stood(demo, tmp_path, read, workers):
    folder = tmp_path / "cache"
    for lines in (1, 8, 16):
        process = alone(demo, folder, workers=workers)
        while process.poll() is None and len(layout.read_journal(folder, SIZE)) < lines:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = len(layout.read_journal(folder, SIZE))
        if not (folder / "cache.json").exists():
            assert there >= lines
            with pytest.raises(Damaged):
                Cache(folder)
    cache = ingest(open_competition(demo), SIZE, 1, folder)
    assert len(read) <= 25 - 16
    agrees(cache, demo)


def test_ctrl_c_stops_every_process_at_once_and_the_next_call_goes_on(demo, tmp_path, read):
    """As the processes start, then in the middle of their work."""
    cache, script = tmp_path / "cache", tmp_path / "slowly.py"
    script.write_text(SLOWLY)
    command = [sys.executable, script, f"data={demo}", f"image_size={SIZE}", "workers=2", f"out={cache}"]
    environment = os.environ | {"PYTHONPATH": str(config.REPOSITORY / "src")}

    def workers(process):
        children = psutil.Process(process.pid).children()
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]

    for reached in (workers, lambda _: layout.read_journal(cache, SIZE)):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        while not reached(process):
            time.sleep(0.001)
        children, started = workers(process), time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does with Ctrl-C
        said = process.communicate()[1]
        assert process.returncode == 130 and "Traceback" not in said, said
        assert "stopped; run the same command again to continue" in said
        assert time.monotonic() - started < 10 and not any(child.is_running() for child in children)
    there = layout.read_journal(cache, SIZE)
    assert 0 < len(there) < 25
    agrees(ingest(open_competition(demo), SIZE, 1, cache), demo)
    assert len(read) == 25 - len(there)


def test_flipped_bytes_cost_the_images_they_hit_where_pixels_are_verified(demo, tmp_path, read):
    competition, folder = open_competition(demo), tmp_path / "cache"
    first = ingest(competition, SIZE, 1, folder)
    hit = [first.index["patientId"][3], first.index["patientId"][17]]
    whole, index = layout.pixel_file(folder, SIZE).read_bytes(), (folder / "index.csv").read_bytes()
    with open(layout.pixel_file(folder, SIZE), "r+b") as file:
        for row in (3, 17):
            file.seek(row * SIZE**2 + 5)
            file.write(bytes([whole[row * SIZE**2 + 5] ^ 16]))
    read.clear()
    assert ingest(competition, SIZE, 1, folder).verify() == hit and read == []
    assert ingest(competition, SIZE, 1, folder, verify=True).verify() == [] and read == hit
    assert layout.pixel_file(folder, SIZE).read_bytes() == whole and (folder / "index.csv").read_bytes() == index


@pytest.mark.parametrize("name", ["index.csv", "cache.json", f"pixels-{SIZE}.u8"])
def test_a_cache_that_is_not_what_was_written_is_made_again(demo, tmp_path, read, name):
    competition, folder = open_competition(demo), tmp_path / "cache"
    index = ingest(competition, SIZE, 1, folder).index
    (folder / name).write_bytes((folder / name).read_bytes()[:-9])
    read.clear()
    cache = ingest(competition, SIZE, 1, folder)
    assert cache.index.equals(index) and len(read) == 25
    agrees(cache, demo)


def test_a_file_that_changed_is_read_again_and_one_that_was_only_touched_is_not(copy, tmp_path, read):
    competition, folder = open_competition(copy), tmp_path / "cache"
    ingest(competition, SIZE, 1, folder)
    touched, changed, *_ = competition.train_images.values()
    os.utime(touched, (1, 1))
    header = pydicom.dcmread(changed)
    header.PatientSex = "F" if header.PatientSex == "M" else "M"
    header.save_as(changed)  # of the same length
    read.clear()
    cache = ingest(competition, SIZE, 1, folder)
    assert read == [changed.stem]
    assert cache.index["sex"][cache.row_of(changed.stem)] == header.PatientSex
    ingest(competition, SIZE, 1, folder)
    assert len(read) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_every_bad_dicom_is_reported_and_the_others_are_kept(copy, tmp_path, read, workers):
    competition, folder = open_competition(copy), tmp_path / "cache"
    first, *_, last = competition.train_images.values()
    genuine = {path: path.read_bytes() for path in (first, last)}
    first.write_bytes(b"no DICOM")
    last.write_bytes(genuine[last][:2000])
    with pytest.raises(BadInput) as caught:
        ingest(competition, SIZE, workers, folder)
    assert [fault.file for fault in caught.value.faults] == [str(first), str(last)]
    for path, content in genuine.items():
        path.write_bytes(content)
    read.clear()
    agrees(ingest(competition, SIZE, 1, folder), copy)
    assert read == [first.stem, last.stem]


def test_two_at_once_do_the_work_once(demo, tmp_path):
    folder = tmp_path / "cache"
    processes = [alone(demo, folder), alone(demo, folder)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    agrees(Cache(folder), demo)
    with exclusive_lock(folder / "lock", "the image cache"):
        waiting = alone(demo, folder)
        line = waiting.stderr.readline()
    assert f"waiting for process {os.getpid()}, which holds the image cache" in line
    assert waiting.communicate(timeout=60)[0] == "25\n"


def test_a_full_disk_is_foreseen(demo, tmp_path, monkeypatch, read):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EnvironmentFailure, match="MB more"):
        ingest(open_competition(demo), SIZE, 1, tmp_path / "cache")
    assert read == [] and list((tmp_path / "cache").glob("pixels-*")) == []


def test_a_disk_that_fills_up_during_the_work_keeps_what_was_done(demo, tmp_path, read, monkeypatch):
    """A limit on the size of files stands for the disk: the same calls fail, with EFBIG."""
    monkeypatch.setattr(module, "allocate", lambda file, _: file.touch())  # a file system that cannot reserve
    monkeypatch.setattr(module, "BLOCK", 2)
    competition, folder = open_competition(demo), tmp_path / "cache"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9 * SIZE**2 + 100, hard))
    try:
        with pytest.raises(EnvironmentFailure, match="finished images are kept"):
            ingest(competition, SIZE, 1, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (folder / "cache.json").exists()
    read.clear()
    agrees(ingest(competition, SIZE, 1, folder), demo)
    assert len(read) == 25 - 8


def test_a_disk_that_really_is_full(demo, tmp_path, monkeypatch):
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user cannot mount a tmpfs; the limit on file sizes stands for it above")
    try:
        with pytest.raises(EnvironmentFailure, match="MB more"):
            ingest(open_competition(demo), 512, 1, mount / "cache")
        monkeypatch.setattr(module, "refuse_full_disk", lambda *_: None)
        with pytest.raises(EnvironmentFailure, match="disk is full"):
            ingest(open_competition(demo), 512, 1, mount / "cache")
        agrees(ingest(open_competition(demo), SIZE, 1, mount / "other"), demo)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_no_size_below_one(demo, tmp_path):
    with pytest.raises(BadInput, match="not an image size"):
        ingest(open_competition(demo), 0, 1, tmp_path)


def test_a_place_that_cannot_be_a_folder(demo, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        ingest(open_competition(demo), SIZE, 1, tmp_path / "file")


def test_the_folder_is_named_by_the_content(demo, copy, monkeypatch, tmp_path):
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    one = ingest(open_competition(demo, name="x"), 32, 1)
    next(iter((copy / "stage_2_test_images").glob("*.dcm"))).unlink()
    other = ingest(open_competition(copy, name="x"), 32, 1)
    assert one.folder.parent == other.folder.parent == tmp_path / "cache" and one.folder != other.folder
