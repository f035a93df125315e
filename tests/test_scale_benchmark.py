"""The formulae of docs/scale.md, as benchmarks/scale.py has them."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pneumonia import config
from pneumonia.system.processes import count_cores

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ONE = np.ones(2)
NOTHING = np.zeros(2)
MEMBERS = ("mobilenetv2", "yolov8_xs")  # of 224 and 512 pixels: caches of 256 and 512
UNIT = {"start": NOTHING, "of_epoch": NOTHING, "train": NOTHING, "look": NOTHING, "predict": NOTHING}
UNIT |= {"memory": 2**30, "weights_bytes": 7, "device": "cpu:0"}


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("scale")


@pytest.fixture
def experiments():
    return {name: config.read_experiment(name, "full") for name in MEMBERS}


@pytest.fixture
def costs(scale):
    """Of a job that costs nothing."""
    cache = {"ingest": NOTHING, "verify": NOTHING, "cache_bytes": 0}
    every = [*scale.TABLES, "open", "header", "fuse", "fuse_fixed"]
    every += [f"{name}, twice" for name in scale.TABLES]
    return {"caches": {256: dict(cache), 512: dict(cache)}, "table_bytes": 0, "table_memory": 0} | dict.fromkeys(
        every, NOTHING
    )


def test_every_cached_size_is_ingested_and_kept_and_a_run_looks_at_its_own(scale, experiments, costs):
    for size, each in costs["caches"].items():
        each |= {"ingest": size * ONE, "verify": ONE / size, "cache_bytes": size**2}
    units, job = dict.fromkeys(MEMBERS, UNIT), scale.Job(80, 20)
    whole, runs = scale.job_seconds(job, experiments, units, costs)
    np.testing.assert_allclose(runs, 100 * (1 / 256 + 1 / 512))
    np.testing.assert_allclose(whole - runs, 100 * (256 + 512))
    assert scale.disk_bytes(job, experiments, units, costs) == 100 * (256**2 + 512**2) + 2 * 7


def test_devices_shorten_the_wall_clock_and_not_the_work(scale, experiments, costs):
    lengths = {"mobilenetv2": 10.0, "yolov8_xs": 30.0}
    units = {name: UNIT | {"start": length * ONE} for name, length in lengths.items()}
    found = {devices: scale.job_seconds(scale.Job(80, 20, 5, devices), experiments, units, costs) for devices in (1, 3)}
    assert [whole.tolist() for whole, _ in found.values()] == [[200, 200], [80, 200]]
    assert all(runs.tolist() == [200, 200] for _, runs in found.values())
    assert 200 / 3 <= found[3][0][0] <= 200 / 3 + max(lengths.values())


def test_only_reading_is_shared_among_cores(scale, experiments, costs):
    costs["caches"][512] |= {"ingest": ONE}
    wall, busy = scale.job_seconds(scale.Job(50_000, 0), experiments, dict.fromkeys(MEMBERS, UNIT), costs)[0]
    assert busy == 50_000 and wall == 50_000 / count_cores()


def test_its_tables_are_printed(scale, experiments, costs, tmp_path, capsys, monkeypatch):
    """Of a job that is not run: it takes 3 s longer than its images say, at any size."""
    units, settings = dict.fromkeys(MEMBERS, UNIT | {"train": 0.01 * ONE}), scale.Settings(epochs=2, factors=[1, 2])

    class Job(scale.Copy):
        def __init__(self):
            self.root, self.known = tmp_path, {}

        def job(self, folder, preset, ensemble):
            job = scale.Job(*map(len, (folder.train_images, folder.test_images)))
            return {"dataset": "none"}, 3 + scale.job_seconds(job, experiments, units, known)[0], 2**30

        def measured(self, measure, **changes):
            return UNIT | {"train": 0.04 * ONE, "look": ONE, "predict": ONE}, 2**31

    class Folder:
        name = "demo"

        def __init__(self, images):
            self.train_images, self.test_images = range(images), range(images // 4)

    (tmp_path / "runs" / "none").mkdir(parents=True)
    known, folders = dict(costs), {1: Folder(40), 2: Folder(80)}
    monkeypatch.setattr(scale, "open_competition", lambda folder: folder)
    scale.print_units(settings, experiments, units, costs, scale.Job(40, 10))
    scale.print_checks(Job(), settings, experiments, units, costs, folders)
    with np.errstate(divide="ignore"):
        scale.print_larger(Job(), settings, experiments, units, folders[1])
    scale.print_projection(settings, experiments, units, costs)
    said = capsys.readouterr().out
    assert "J = 3.0 / 3.0 s" in said and "4.00 / 4.00" in said and "| 100,000,000 |" in said
    rows = [line.split("|") for line in said.splitlines() if line.startswith(("| 40 + 10", "| 80 + 20"))]
    assert len(rows) == 2 and all(row[3] == row[4] for row in rows), "what was predicted is what was measured"


def test_devices_are_shared_by_the_local_executor_as_predicted(scale, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale, "SLEEPS", [0.1, 0.3])
    monkeypatch.setattr(scale, "SHARING", (2,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    scale.print_sharing(tmp_path)
    _, devices, mean, predicted, measured, _ = capsys.readouterr().out.splitlines()[-1].split("|")
    assert (int(devices), float(mean), float(predicted)) == (2, 1.0, 1.1) and float(measured) >= 1.1
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_equal_networks_are_measured_once(scale, tmp_path):
    calls = []

    class Copy(scale.Copy):
        def __init__(self):
            self.known = {}

        def measured(self, measure, **changes):
            calls.append((measure, changes["size"]))
            return {}, 0

    copy = Copy()
    for preset, size in (("quick", 512), ("full", 512), ("quick", 256)):
        copy.member("yolov8_xs", preset, size, 1, tmp_path)
    assert calls == [("yolov8_xs", 512), ("yolov8_xs", 256)]


def test_epochs_are_set_in_the_copy(scale, tmp_path):
    (tmp_path / "experiments").mkdir()
    file = tmp_path / "experiments" / "yolov8_xs.yaml"
    file.write_text("epochs: 7\npresets:\n  quick: {epochs: 20, batch_size: 16}\n")
    copy = object.__new__(scale.Copy)
    copy.root = tmp_path
    copy.set_epochs("yolov8_xs", "quick", 3)
    assert config.read_yaml(file) == {"epochs": 7, "presets": {"quick": {"epochs": 3, "batch_size": 16}}}
    copy.set_epochs("yolov8_xs", "full", 2)
    assert config.read_yaml(file)["epochs"] == 2


def test_the_program_that_starts_the_jobs_loads_no_framework():
    """Its memory and its processors' time are not the job's."""
    code = """
import sys, numpy, scale
from pneumonia import schema
unit = {name: numpy.zeros(2) for name in ("start", "of_epoch", "train", "look", "predict")}
unit |= {"memory": 1, "weights_bytes": 1, "device": "cpu:0"}
costs = {name: numpy.zeros(2) for name in (*scale.TABLES, "open", "header", "fuse", "fuse_fixed")}
costs |= {f"{name}, twice": numpy.zeros(2) for name in scale.TABLES} | {"caches": {}, "table_memory": 1}
scale.print_units(scale.Settings(), {"none": schema.Experiment()}, {"none": unit}, costs, scale.Job(1, 1))
sys.exit(any(name in sys.modules for name in ("keras", "tensorflow")))
"""
    environment = os.environ | {"PYTHONPATH": str(config.REPOSITORY / "src")}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_what_is_slow_is_timed_once(scale, monkeypatch):
    costs = importlib.import_module("scale_costs")
    monkeypatch.setattr(costs, "ENOUGH", 0.0)
    turns = []
    assert costs.fastest_of(lambda: turns.append(1)).shape == (2,) and len(turns) == 1
