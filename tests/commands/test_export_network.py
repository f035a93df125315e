"""Networks for other programs: exported from real runs, opened with the libraries that they are for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest

from pneumonia import schema
from pneumonia.boxes.predictions import read_classes
from pneumonia.commands.export import export
from pneumonia.commands.export_network import held_out_pictures, largest_difference
from pneumonia.inference.network import network_of
from pneumonia.models.registry import family
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.files import sha256

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export network")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs of the smallest demo, by the experiment's name."""
    out, env = tmp_path_factory.mktemp("runs"), {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    found = {}
    for name in ("mobilenetv2", "mobilenet_unet", "yolov8_xs"):
        words = ["train", f"experiment={name}", "fold=0", "data=demo", "preset=smoke", f"out={out}", "json=true"]
        command = [sys.executable, "-P", "-m", "pneumonia", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found[name] = Run(Path(json.loads(done.stdout.splitlines()[-1])["runs"][0]))
    return found


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("mobilenetv2", "onnx"),
        ("mobilenet_unet", "onnx"),
        ("yolov8_xs", "onnx"),
        ("yolov8_xs", "litert"),
        ("yolov8_xs", "saved_model"),
    ],
)
def test_the_exported_network_predicts_the_same(runs, tmp_path, capsys, name, format):
    result = export(schema.Export(run=str(runs[name].folder), format=format, out=str(tmp_path / "network")))
    assert result["difference"]["box"] <= 0.5 and result["difference"]["confidence"] <= 1e-3
    assert 0 <= result["difference"]["output"] < 1e-4
    assert {"1", "16"} == set(result["milliseconds"]) and "batch of 16: Keras" in capsys.readouterr().out
    stored = json.loads((tmp_path / "network" / "network.json").read_text())
    assert stored["weights_sha256"] == runs[name].done()["weights_sha256"]
    assert stored["files"] and all(sha256(tmp_path / "network" / file) == digest
                                   for file, digest in stored["files"].items())  # fmt: skip


def test_onnx_runtime_gives_the_probabilities_of_the_run_s_table(runs, tmp_path):
    """By a program that knows only network.onnx: softmax of its logits, without test-time variants."""
    run = runs["mobilenetv2"]
    export(schema.Export(run=str(run.folder), format="onnx", out=str(tmp_path / "network")))
    session = onnxruntime.InferenceSession(tmp_path / "network" / "network.onnx")
    (given,) = session.get_inputs()
    network, of_run, experiment = network_of(run)
    pictures = held_out_pictures(run, experiment.image_size)
    assert given.type == "tensor(uint8)" and len(pictures) > 1
    (logits,) = session.run(["logits"], {given.name: pictures})
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    opacity = (exponents / exponents.sum(axis=1, keepdims=True))[:, 2]
    np.testing.assert_allclose(opacity, of_run.decode(network.predict_on_batch(pictures))[:, 2], atol=1e-5)
    mean_of_flips = read_classes(run.table("oof", "classifier")).opacity[: len(pictures)]
    assert np.abs(opacity - mean_of_flips).max() < 0.2


def test_what_differs_is_not_kept(runs, tmp_path, monkeypatch):
    real = keras.Model.export

    def other_network(network, *arguments, **options):
        changed = keras.models.clone_model(network)
        changed.set_weights([weight + 0.05 for weight in network.get_weights()])
        return real(changed, *arguments, **options)

    monkeypatch.setattr(keras.Model, "export", other_network)
    with pytest.raises(BadInput, match=r"predictions differ by up to .* nothing is kept"):
        export(schema.Export(run=str(runs["mobilenetv2"].folder), format="saved_model", out=str(tmp_path / "network")))
    assert not list(tmp_path.iterdir())


def test_a_box_that_moves_or_is_missing_counts():
    yolo = family(schema.model_settings("yolov8"), 64)
    anchors = 8 * 8 + 4 * 4 + 2 * 2
    distances = np.zeros((1, anchors, 64), np.float32)
    distances[..., [3, 19, 35, 51]] = 30.0  # each side three cells away
    logits = np.full((1, anchors, 1), -9.0, np.float32)
    logits[0, 27] = 2.0
    ours = {"distances": distances, "logits": logits}
    assert largest_difference(yolo, ours, ours) == {"box": 0.0, "confidence": 0.0, "output": 0.0}
    moved = distances.copy()
    moved[0, 27, 4] = 30.0  # the left side as probably four cells away
    assert largest_difference(yolo, ours, ours | {"distances": moved})["box"] == pytest.approx(4.0, abs=0.01)
    missing = largest_difference(yolo, ours, ours | {"logits": np.full_like(logits, -9.0)})
    assert missing["confidence"] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"format": "onnx"}, "format of networks"),
        ({"run": "runs/x", "format": "yolo"}, "format of boxes"),
        ({"run": "/nowhere", "format": "onnx"}, "not a finished run"),
    ],
)
def test_bad_use(settings, says):
    with pytest.raises(BadInput, match=says):
        export(schema.Export(**settings))


def test_a_library_that_is_missing(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EnvironmentFailure, match=r"onnxruntime: is not installed; \./run\.sh install extra=export"):
        export(schema.Export(run=str(runs["mobilenetv2"].folder), format="onnx", out=str(tmp_path / "network")))
    assert not list(tmp_path.iterdir())
