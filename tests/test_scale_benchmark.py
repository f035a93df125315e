"""What benchmarks/scale.py says of finished runs, and of devices that share them."""

import importlib
from pathlib import Path

import pandas as pd
import pytest

from pneumonia import config
from pneumonia.runs.history import write_history
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MEMBERS = ("yolov8_xs", "mobilenetv2", "mobilenet_unet")  # of the default ensemble: 512, 224 and 224 pixels


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("scale")


def finished_run(dataset: Path, name: str, fold: int, seconds: float, epochs: int) -> None:
    """A run at preset smoke, as training leaves it, on five folds of 20 images each and 7 that are set apart."""
    folds = dataset / "folds.csv"
    table = [*(str(row % 5) for row in range(100)), *["holdout"] * 4, *["removed"] * 3]
    pd.DataFrame({"patientId": range(107), "group": range(107), "fold": table}).to_csv(folds, index=False)
    run = Run(dataset / f"{name}-smoke" / f"fold{fold}")
    run.write_settings(config.read_experiment(name, "smoke", {"epochs": epochs}), {"fold": fold})
    run.write_start({"title": name, "source": "demo", "nih": "", "prepared": {"folds": str(folds)}})
    write_history(run.folder, [{"epoch": epoch + 1, "loss": 1.0} for epoch in range(epochs)])
    run.weights.write_bytes(b"weights")
    run.finish("localizer", seconds, {}, {})


def test_what_an_image_costs_is_taken_from_finished_runs(scale, tmp_path):
    """Of 100 images 80 are trained on, less the inner split's share."""
    finished_run(tmp_path, "yolov8_xs", 0, seconds=30.0, epochs=2)
    finished_run(tmp_path, "yolov8_xs", 3, seconds=60.0, epochs=4)
    inner = config.read_experiment("yolov8_xs", "smoke").inner_val_fraction
    assert scale.measured_seconds(tmp_path, "yolov8_xs", "smoke") == pytest.approx(90 / (6 * 80 * (1 - inner)))
    assert scale.measured_seconds(tmp_path, "yolov8_xs", "quick") is None


def test_the_table_of_runs_is_what_they_took(scale, tmp_path):
    for name, seconds in zip(MEMBERS, (5400.0, 1800.0, 3600.0)):
        finished_run(tmp_path, name, 0, seconds, epochs=1)
    settings = scale.Settings(
        100, 0, preset="smoke", runs=str(tmp_path), folds=2, devices=[1, 2, 6], ingest=0, recipe=0, price=10
    )
    head, _, _, _, *rows = scale.lines_of(settings)[:7]
    assert head == "100 + 0 images, preset smoke: 6 runs, together 6.00 device-hours"
    # two devices: 1.5 + 1.5 beside 0.5 + 1 + 0.5 + 1, each run on the first that is free
    assert rows == ["| 1 | 6.00 | 60.00 |", "| 2 | 3.00 | 60.00 |", "| 6 | 1.50 | 90.00 |"]


def test_each_run_takes_the_first_device_that_is_free(scale):
    assert scale.until_last_ends([3, 1, 1, 2], 2) == 4
    assert scale.until_last_ends([1, 3], 8) == 3


def test_caches_and_ingest_are_of_every_size_that_the_members_need(scale, monkeypatch):
    monkeypatch.setattr(scale, "count_cores", lambda: 4)
    settings = scale.Settings(900, 100, seconds=dict.fromkeys(MEMBERS, 1e-9), devices=[1], ingest=36.0, recipe=0)
    row, _, parts, caches = scale.lines_of(settings)[4:]
    assert row.split("|")[2].strip() == "5.00" and "ingest 5.00 h on 4 cores" in parts
    assert caches == "image caches: 0.1 GB (256 px) + 0.3 GB (512 px)"


def test_a_member_whose_cost_nobody_says_is_named(scale):
    with pytest.raises(BadInput, match=r"yolov8_xs at preset full; give seconds={yolov8_xs: ...}"):
        scale.lines_of(scale.Settings(seconds={"mobilenetv2": 1.0}))
