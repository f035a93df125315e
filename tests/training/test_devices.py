"""One model over two devices, and on Keras's other backend: real processes, since a backend is chosen at its start."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve()
REPOSITORY = HERE.parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("devices")]


def run(*words, **env):
    paths = os.pathsep.join([str(REPOSITORY / "src"), str(HERE.parent)])
    env = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3", **env}
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, check=False)


WITH_JAX = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
EPOCHS, STEPS = 6, 6
INNER = (48, 45, 49)  # images of the inner split: all, and numbers that two devices cannot share evenly
TWO_CPUS = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.fixture(
    scope="module", params=[pytest.param({}, id="tensorflow"), pytest.param(TWO_CPUS, id="jax", marks=WITH_JAX)]
)
def curves(request, tmp_path_factory):
    """{devices: {images of the inner split: learning curve}}, each device count in one process."""
    found = {}
    for devices in (1, 2):
        folder = tmp_path_factory.mktemp("devices")
        done = run(str(HERE), str(folder), str(devices), **request.param)
        assert done.returncode == 0, done.stderr
        found[devices] = {inner: np.load(folder / str(inner) / "losses.npz") for inner in INNER}
    return found


def test_two_devices_learn_as_one(curves):
    """The same global batches, shared among two: the same learning curve but for the order of sums."""
    one, two = (curves[devices][INNER[0]] for devices in (1, 2))
    assert one["losses"][-1] < 0.8 * one["losses"][0]
    np.testing.assert_allclose(one["losses"], two["losses"], rtol=1e-3)
    for curve in (one, two):  # the step is compiled, or each would call the Python code of the loss
        assert curve["calls"] < EPOCHS * STEPS


@pytest.mark.parametrize("inner", INNER[1:])
def test_an_inner_split_of_any_size_has_the_same_losses_on_two_devices(curves, inner):
    one, two = (curves[devices][inner]["losses"] for devices in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-3)


def test_a_real_experiment_trains_on_two_devices(tmp_path):
    words = (
        "train",
        "experiment=report/cnn",
        "preset=smoke",
        "data=demo",
        "devices=2",
        f"out={tmp_path}",
        "json=true",
    )
    done = run(str(HERE), *words)
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout.splitlines()[-1])["runs"][0])
    (line,) = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    assert all(np.isfinite(value) for value in line.values()) and (folder / "oof_classes.csv").exists()


def test_more_devices_than_there_are_is_said(tmp_path):
    done = run(str(HERE), str(tmp_path), "3")
    assert "devices=3, but this process sees 2" in done.stderr


@WITH_JAX
def test_jax_runs_the_same_experiment(tmp_path):
    words = ("-P", "-m", "pneumonia", "train", "experiment=mobilenetv2", "preset=smoke", "data=demo", f"out={tmp_path}")
    done = run(*words, "json=true", KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout.splitlines()[-1])["runs"][0])
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["backend"] == "jax" and environment["devices"][0].startswith("cpu")
    table = (folder / "oof_classes.csv").read_text().splitlines()
    assert table[0] == "patientId,normal,not_normal,opacity" and len(table) > 5


def losses(folder: Path, devices: int, inner: int) -> dict:
    """The learning curve, and how often Python computed the loss."""
    from spots import SIZE, SpotClassifier, experiment, spot_samples

    from pneumonia.runs.history import read_history
    from pneumonia.training import loop

    class WithoutDropout(SpotClassifier):  # whose draws differ from device to device
        rate, calls = 0.0, 0

        def losses(self, targets, outputs):
            self.calls += 1
            return super().losses(targets, outputs)

    wanted = experiment(devices=devices, epochs=EPOCHS)
    samples = spot_samples()
    family = WithoutDropout(wanted.model, SIZE)
    loop.train(wanted, family, samples, samples_part(samples, inner), folder, "test")
    curve = np.array([[line["loss"], line["inner_loss"]] for line in read_history(folder)]).ravel()
    return {"losses": curve, "calls": family.calls}


def samples_part(samples, count: int):
    """The first `count` samples, again from the first where there are not so many."""
    import dataclasses

    rows = np.arange(count) % len(samples)
    taken = {"ids": samples.ids[rows], "classes": samples.classes[rows], "boxes": [samples.boxes[row] for row in rows]}
    return dataclasses.replace(samples, images=np.stack([samples.images[row] for row in rows]), **taken)


def two_cpus() -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


if __name__ == "__main__" and sys.argv[1] == "train":
    from pneumonia.cli import main

    two_cpus()
    sys.exit(main(sys.argv[1:]))
if __name__ == "__main__" and sys.argv[1] != "train":
    import keras

    if keras.backend.backend() == "tensorflow":
        two_cpus()
    for images in INNER:
        place = Path(sys.argv[1], str(images))
        place.mkdir(parents=True)
        np.savez(place / "losses.npz", **losses(place, int(sys.argv[2]), images))
