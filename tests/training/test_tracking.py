"""Event files, as TensorBoard's own reader sees them."""

from pathlib import Path

import keras
import numpy as np
import pytest
from event_reader import curves, pictures
from spots import SIZE, SpotClassifier, WithBackbone, experiment, spot_samples, weights
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from pneumonia import config, schema
from pneumonia.data.samples import Images
from pneumonia.inference.predict import predict
from pneumonia.models.registry import family
from pneumonia.runs import checkpoint
from pneumonia.runs.event_file import NAME, EventFile
from pneumonia.runs.history import read_history
from pneumonia.training import loop
from pneumonia.training.tracking import Tracker, tags_of


def train(folder, epochs=4, family=SpotClassifier, **changes):
    wanted = experiment(epochs=epochs, **changes)
    inner = spot_samples(24, seed=5)
    return loop.train(wanted, family(wanted.model, SIZE), spot_samples(), inner, folder, "test")


def as_curves(history) -> dict[str, list[tuple[int, float]]]:
    found: dict = {}
    for line in history:
        for tag, value in tags_of(line).items():
            found.setdefault(tag, []).append((line["epoch"], pytest.approx(value, rel=1e-6)))
    return found


def test_the_curves_are_those_of_metrics_jsonl(tmp_path):
    train(tmp_path)
    history = read_history(tmp_path)
    assert curves(tmp_path) == as_curves(history)
    assert {"training/loss", "inner/loss", "learning_rate"} <= set(curves(tmp_path))
    assert len(history) == 4


@pytest.mark.parametrize("moment", ["before the checkpoint", "after the checkpoint", "in a record", "no file"])
def test_a_training_that_was_killed_goes_on_in_the_same_curve(tmp_path, monkeypatch, moment):
    real = checkpoint.write_checkpoint

    def stop(place, done, *what):
        if done == 2 and moment == "before the checkpoint":
            raise KeyboardInterrupt
        real(place, done, *what)
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    monkeypatch.undo()
    file = tmp_path / NAME
    if moment == "in a record":
        file.write_bytes(file.read_bytes()[:-7])
    elif moment == "no file":
        file.unlink()
    train(tmp_path)
    assert curves(tmp_path) == as_curves(read_history(tmp_path))
    assert [step for step, _ in curves(tmp_path)["training/loss"]] == [1, 2, 3, 4]


def test_what_follows_the_last_checkpoint_is_cut_off_in_place(tmp_path):
    events = EventFile(tmp_path, 0)
    for step in range(1, 400):  # steps of one and two bytes
        events.scalars(step, {"loss": 1 / step})
    events.close()
    inode, whole = (tmp_path / NAME).stat().st_ino, (tmp_path / NAME).read_bytes()
    again = EventFile(tmp_path, 200)
    assert again.step == 200
    again.scalars(201, {"loss": 7.0})
    again.close()
    assert (tmp_path / NAME).stat().st_ino == inode and whole.startswith((tmp_path / NAME).read_bytes()[:-40])
    assert curves(tmp_path)["loss"][-2:] == [(200, pytest.approx(1 / 200)), (201, 7.0)]


def test_a_damaged_byte_ends_what_is_kept(tmp_path):
    events = EventFile(tmp_path, 0)
    for step in range(1, 6):
        events.scalars(step, {"loss": float(step)})
    events.close()
    content = bytearray((tmp_path / NAME).read_bytes())
    content[len(content) * 3 // 4] ^= 1
    (tmp_path / NAME).write_bytes(content)
    again = EventFile(tmp_path, 5)
    assert 1 <= again.step < 5
    again.close()
    assert len(list(EventFileLoader(str(tmp_path / NAME)).Load())) == 1 + again.step  # the first is the version


def test_it_changes_no_bit_and_can_be_switched_off(tmp_path):
    tracked = train(tmp_path / "a", pictures=1)
    silent = train(tmp_path / "b", tracking="none")
    assert all(np.array_equal(a, b) for a, b in zip(weights(tracked), weights(silent), strict=True))
    assert read_history(tmp_path / "a") == read_history(tmp_path / "b")
    assert (tmp_path / "a" / NAME).exists() and not (tmp_path / "b" / NAME).exists()


def test_runs_with_and_without_it_are_the_same_run():
    plain = config.read_experiment("mobilenetv2", "quick")
    changed = config.read_experiment("mobilenetv2", "quick", {"tracking": "none", "pictures": 1, "loaders": 3})
    assert config.experiment_label("mobilenetv2", "quick", changed) == config.experiment_label(
        "mobilenetv2", "quick", plain
    )


def test_pictures_of_a_classifier_every_few_epochs_and_at_the_end(tmp_path):
    train(tmp_path, epochs=5, pictures=2)
    drawn = pictures(tmp_path)
    assert len(drawn) == 6 and sum(tag.startswith("opacity/") for tag in drawn) == 4
    assert {tuple(step for step, _ in steps) for steps in drawn.values()} == {(2, 4, 5)}


@pytest.mark.parametrize("frozen", [0, 2])  # 2: killed at the end of a stage
def test_a_training_killed_while_it_draws_gets_the_other_pictures_when_it_goes_on(tmp_path, monkeypatch, frozen):
    settings = {"family": WithBackbone, "pictures": 2, "model": {"frozen_epochs": frozen}}
    real = EventFile.picture

    def stop(events, step, *what):
        if step == 2 and events.pictures == 4:
            raise KeyboardInterrupt
        real(events, step, *what)

    train(tmp_path / "whole", **settings)
    monkeypatch.setattr(EventFile, "picture", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", **settings)
    assert len(pictures(tmp_path / "killed")) == 4
    monkeypatch.undo()
    train(tmp_path / "killed", **settings)
    whole, killed = pictures(tmp_path / "whole"), pictures(tmp_path / "killed")
    assert list(whole) == list(killed) and len(whole) == 6
    for tag, steps in whole.items():
        assert [step for step, _ in killed[tag]] == [step for step, _ in steps] == [2, 4]
        assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(steps, killed[tag]))
    assert curves(tmp_path / "whole") == curves(tmp_path / "killed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_file_and_not_the_training(tmp_path, capsys):
    events = EventFile(tmp_path, 0)
    events.scalars(1, {"loss": 1.0})
    events.file.close()
    with Path("/dev/full").open("wb") as events.file:
        for step in (2, 3):
            events.scalars(step, {"loss": 1.0})
    events.close()
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / NAME}: cannot be written (No space left on device); the training goes on without it"
    ]
    assert curves(tmp_path) == {"loss": [(1, 1.0)]}


def test_a_file_that_cannot_be_opened_does_not_end_the_training(tmp_path, capsys):
    (tmp_path / NAME).mkdir()
    train(tmp_path, epochs=1)
    assert len(read_history(tmp_path)) == 1
    assert capsys.readouterr().err.count("cannot be written") == 1


class SpotFinder(SpotClassifier):
    """Finds the bright square without training: its box, shifted by 3 and 4 pixels, which shows whose box is drawn."""

    kind = "localizer"

    def build(self):
        inputs = keras.Input((self.image_size, self.image_size, 1))
        return keras.Model(inputs, {"brightness": keras.layers.Rescaling(1 / 255)(inputs)})

    def decode(self, outputs):
        for brightness in outputs["brightness"][..., 0]:
            rows, columns = np.nonzero(brightness > 0.55)
            if len(rows):
                left, top = columns.min(), rows.min()
                box = [left + 3, top + 4, columns.max() + 1 - left, rows.max() + 1 - top]
                yield np.array([box], float), np.array([0.75])
            else:
                yield np.empty((0, 4)), np.empty(0)


def test_pictures_of_a_localizer_have_the_boxes_of_its_prediction_table(tmp_path):
    samples, wanted = spot_samples(12, seed=5), experiment(pictures=1, tta=["identity"])
    finder = SpotFinder(wanted.model, SIZE)
    network = finder.build()
    tracker = Tracker(wanted, tmp_path, [], samples)
    tracker.draw_pictures(1, network, finder)
    tracker.close()
    images = Images(samples.ids, samples.images, np.full((len(samples), 2), SIZE))
    table = predict(network.predict_on_batch, finder, images, wanted, "test")
    drawn, seen = pictures(tmp_path), 0
    assert len(drawn) == 6
    for tag, ((_, picture),) in drawn.items():
        row = table.ids.index(tag.rpartition("/")[2])
        red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
        is_orange = red > blue + 60
        boxes, scores = table.image(row)
        assert is_orange.any() == (len(boxes) > 0)
        for (x, y, width, height), score in zip(boxes * picture.shape[0] / SIZE, scores):
            assert score == 0.75
            left, top, right, bottom = (round(edge) for edge in (x, y, x + width, y + height))
            rows, columns = np.nonzero(is_orange)
            ends = (columns.min(), rows.min(), columns.max(), rows.max())
            assert np.abs(np.subtract(ends, (left, top, right, bottom))).max() <= 3  # lines of 2 pixels, in JPEG
            sides = (is_orange[top, left:right], is_orange[bottom, left:right])
            sides += (is_orange[top:bottom, left], is_orange[top:bottom, right])
            assert min(side.mean() for side in sides) > 0.8
            seen += 1
    assert seen == 4


def test_pictures_of_a_localizer_have_its_true_boxes(tmp_path):
    settings = {"name": "mobilenet_unet", "alpha": 0.25}
    tree = {"image_size": SIZE, "epochs": 1, "batch_size": 8, "model": settings, "pictures": 1}
    wanted = config.from_tree(schema.Experiment, tree, "test")
    keras.utils.set_random_seed(0)
    samples = spot_samples(16)
    loop.train(wanted, family(wanted.model, SIZE), samples, spot_samples(12, seed=5), tmp_path, "test")
    drawn = pictures(tmp_path)
    assert len(drawn) == 6
    for tag, ((step, picture),) in drawn.items():
        factor = picture.shape[0] / SIZE
        x, y, width = 10 * factor, 8 * factor, 14 * factor  # the box of spot_samples
        edge = picture[round(y), round(x) + 20 : round(x + width) - 20].astype(int)
        is_green = edge[:, 1].mean() > edge[:, 0].mean() + 40
        assert step == 1 and is_green == tag.startswith("opacity/")
