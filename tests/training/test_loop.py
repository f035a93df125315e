"""Training as such, with a model small enough for seconds: what is learned, resumed, repeated and refused."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from spots import SIZE, SpotClassifier, experiment, spot_samples, weights

from pneumonia.data.samples import Samples
from pneumonia.runs import checkpoint
from pneumonia.runs.history import read_history
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.training import loop
from pneumonia.training.batches import Batches
from pneumonia.training.loading import BatchLoader
from pneumonia.training.sampling import epoch_order

HERE = Path(__file__).resolve()


def trained(folder: Path, samples: Samples | None = None, **changes):
    wanted = experiment(**changes)
    samples = samples or spot_samples()
    return loop.train(wanted, SpotClassifier(wanted.model, SIZE), samples, samples, folder, "test")


def test_training_learns_and_keeps_a_history(tmp_path):
    trained(tmp_path, epochs=8)
    history = read_history(tmp_path)
    assert [line["epoch"] for line in history] == list(range(1, 9))
    assert history[-1]["inner_loss"] < 0.5 * np.log(2)  # half of what a model that knows nothing has
    assert set(history[0]) == {"epoch", "loss", "opacity", "inner_loss", "inner_opacity", "learning_rate"}
    assert history[-1]["learning_rate"] < history[2]["learning_rate"]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b")
    assert all(np.array_equal(a, b) for a, b in zip(weights(first), weights(second)))
    other = trained(tmp_path / "c", seed=1)
    assert not np.array_equal(weights(first)[0], weights(other)[0])


def test_averaged_weights_differ_from_the_last_ones(tmp_path):
    averaged, last = trained(tmp_path / "a"), trained(tmp_path / "b", ema=0)
    assert not np.array_equal(weights(averaged)[0], weights(last)[0])


def test_killed_anywhere_it_ends_with_the_same_bits(tmp_path):
    """A process that is killed after its first and again after its second checkpoint, then left to end."""
    whole = trained(tmp_path / "whole")
    folder = tmp_path / "killed"
    for done in (1, 2):
        killed = subprocess.Popen([sys.executable, str(HERE), str(folder)], env=environment())
        while not list(folder.glob(f"epoch-{done:05d}-*")):
            assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -9
    resumed = trained(folder)
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(resumed)))
    assert read_history(tmp_path / "whole") == read_history(folder)


def environment() -> dict:
    paths = os.pathsep.join([str(HERE.parents[2] / "src"), str(HERE.parent)])
    return os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}


class BadGradient(SpotClassifier):
    """One image, of class 9, whose loss is finite and whose gradient is no number."""

    def targets(self, boxes, classes):
        return super().targets(boxes, classes) | {"bad": (classes == 9).astype(np.float32)[:, None]}

    def losses(self, targets, outputs):
        zero = 0 * ops.cast(outputs["logit"], "float32")
        root = ops.mean(ops.sqrt(ops.where(targets["bad"] > 0, zero, 1.0)))
        return super().losses(targets, outputs) | {"root": root}


def ids_in(text: str) -> set[str]:
    return set(re.findall(r"id-\d+", text))


@pytest.mark.parametrize(("accumulate", "where"), [(1, "the step before"), (2, "the 2 steps before")])
def test_a_gradient_that_is_no_number_names_the_images_it_came_from(tmp_path, accumulate, where):
    """Its own step's loss is finite: the loss that shows it is that of a step with other images."""
    samples = spot_samples(40)
    order = epoch_order(samples.positive, experiment().sampling, 8, seed=0, epoch=0)
    bad, step = order[17], 2  # in the third of five steps
    classes = samples.classes.copy()
    classes[bad] = 9
    wanted = experiment(augment="none", optimizer={"gradient_accumulation_steps": accumulate})
    family = BadGradient(wanted.model, SIZE)
    with pytest.raises(EnvironmentFailure, match="the loss is nan in epoch 1, step") as caught:
        loop.train(wanted, family, dataclasses.replace(samples, classes=classes), None, tmp_path, "test")
    own, before = str(caught.value).split(f"; those of {where}, whose gradients moved the weights: ")
    shown = int(re.search(r"step (\d+);", own)[1]) - 1
    assert shown > step and ids_in(own) == {f"id-{row}" for row in order[8 * shown : 8 * shown + 8]}
    assert ids_in(before) == {f"id-{row}" for row in order[8 * (shown - accumulate) : 8 * shown]}
    assert f"id-{bad}" in ids_in(before) and f"id-{bad}" not in ids_in(own)
    assert "is kept" not in str(caught.value) and checkpoint.checkpoints(tmp_path) == []


def test_a_loss_that_is_no_number_in_the_first_step_names_its_images_only(tmp_path):
    class BadLoss(SpotClassifier):
        def losses(self, targets, outputs):
            return super().losses(targets, outputs) | {"log": ops.log(-ops.mean(targets["opacity"]) - 1.0)}

    wanted = experiment()
    with pytest.raises(EnvironmentFailure, match="the loss is nan in epoch 1, step 1; its images: ") as caught:
        loop.train(wanted, BadLoss(wanted.model, SIZE), spot_samples(), None, tmp_path, "test")
    assert len(ids_in(str(caught.value))) == 8 and "before" not in str(caught.value)


@pytest.mark.parametrize(("images", "step"), [(16, 2), (8, 1)])  # seen in the loss, or in the weights of the last step
def test_a_training_that_diverges_stops_names_the_images_and_keeps_its_checkpoint(tmp_path, images, step):
    samples = spot_samples(images)
    trained(tmp_path, samples, epochs=1)
    with pytest.raises(EnvironmentFailure, match=rf"epoch 2, step {step}; its images: .*id-") as caught:
        wanted = experiment(epochs=2)  # by the settings' own reader such a rate is refused
        wanted.optimizer = dataclasses.replace(wanted.optimizer, learning_rate=float("nan"))
        loop.train(wanted, SpotClassifier(wanted.model, SIZE), samples, samples, tmp_path, "test")
    assert ids_in(str(caught.value)) == set(samples.ids)
    assert "the checkpoint of the epoch before is kept" in str(caught.value)
    assert [path.name[:11] for path in tmp_path.glob("epoch-*")] == ["epoch-00001"]


def test_batches_are_the_same_whatever_the_number_of_loaders():
    wanted = experiment()
    samples = spot_samples()

    def batches() -> Batches:
        return Batches(samples, np.arange(len(samples)), 8, SpotClassifier(wanted.model, SIZE), "strong", [3, 1])

    one = batches()
    with BatchLoader(batches(), 4) as loaded:
        for index in range(len(one)):
            assert np.array_equal(one[index][0], loaded[index][0])
    assert one[0][0].dtype == np.uint8 and one[0][0].shape == (8, SIZE, SIZE, 1)
    assert not np.array_equal(one[0][0][..., 0], samples.images[:8])
    assert one.ids(5) == [f"id-{i}" for i in range(40, 48)]


def test_the_number_of_loaders_changes_no_bit(tmp_path):
    one, four = trained(tmp_path / "a", loaders=1), trained(tmp_path / "b", loaders=4)
    assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(four)))


def test_weights_file_is_the_same_for_the_same_weights(tmp_path):
    network = trained(tmp_path / "run", epochs=1)
    checksums = {checkpoint.write_weights(tmp_path / name, network.variables) for name in ("a", "b")}
    assert len(checksums) == 1


if __name__ == "__main__":
    trained(Path(sys.argv[1]))
