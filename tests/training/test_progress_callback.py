"""progress.json while a training runs."""

import pytest

from pneumonia import config
from pneumonia.runs.progress_file import read_progress
from pneumonia.training import progress_callback
from pneumonia.training.progress_callback import ProgressCallback


def test_progress_follows_the_steps_and_goes_with_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_callback, "SECONDS_BETWEEN", 0.0)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress_callback.time, "monotonic", lambda: next(clock))
    experiment = config.read_experiment("yolov8_xs", "smoke", {"epochs": 4})
    progress = ProgressCallback("title", experiment, tmp_path, steps=8, done=1)  # resumed after one epoch
    progress.begin(1, None)
    progress.on_train_batch_end(1, {"loss": 1.5})
    written = read_progress(tmp_path)
    assert (written.epoch, written.epochs, written.step, written.steps, written.loss) == (2, 4, 2, 8, 1.5)
    assert written.images_per_second == pytest.approx(2 * experiment.batch_size / 10)
    assert written.seconds_left == pytest.approx(30 / 2 * 22)  # two steps of 24 took from 0 to 30 s
    progress.end({"epoch": 2, "loss": 1.25}, 7.0)
    written = read_progress(tmp_path)
    assert (written.step, written.loss, written.images_per_second) == (8, 1.25, 7.0)
    progress.close()
    assert read_progress(tmp_path) is None
