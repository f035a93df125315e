"""What benchmarks/run_start.py prepares is a run that trains, and what it waits for is said before training begins."""

import importlib
import sys
from pathlib import Path

import pytest

from pneumonia.data.prepared import read_prepared
from pneumonia.jobs.job import train_command
from pneumonia.runs.run import experiment_of
from pneumonia.training.run_data import run_data_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
IMAGES, TEST_IMAGES = 200, 20

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def run_start(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("run_start")


@pytest.fixture
def run(run_start, tmp_path):
    return run_start.prepare_run(run_start.Settings(IMAGES, TEST_IMAGES), tmp_path)


def test_the_run_has_all_images_with_boxes_and_people(run):
    data = read_prepared(run.start()["prepared"])
    material = run_data_of(data, 0, experiment_of(run))
    assert len(material.samples) + len(material.inner) + len(material.held_out) == IMAGES
    assert len(data.cache) == IMAGES + TEST_IMAGES
    assert data.study["group"].nunique() < 0.6 * IMAGES
    assert (data.study["boxes"].map(len) > 0).equals(data.study["class"] == "opacity")
    assert material.samples.images[0].max() == 0


@linux
def test_the_child_is_stopped_before_it_trains(run_start, run):
    assert run_start.seconds_until_ready(train_command(run.folder)) > 1
    assert (run.folder / "environment.json").exists()
    assert not (run.folder / "metrics.jsonl").exists() and not list(run.folder.glob("epoch-*"))


@linux
def test_a_child_that_fails_says_why(run_start, tmp_path):
    with pytest.raises(SystemExit, match="is not the folder of a run"):
        run_start.seconds_until_ready(train_command(tmp_path))
