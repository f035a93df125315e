"""Networks for other programs: exported from real runs, opened with the libraries that they are for."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import yaml
from command_line import REPOSITORY, run

from pneumonia import schema
from pneumonia.boxes.predictions import read_classes, read_detections
from pneumonia.commands.export import export
from pneumonia.commands.export_network import held_out_pictures, largest_difference
from pneumonia.commands.predict import predict
from pneumonia.inference.network import network_of
from pneumonia.inference.predictor import source_of
from pneumonia.models.registry import family
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.files import sha256

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("main job")]  # whose runs it exports


@pytest.fixture(scope="module")
def job(demo_job):
    return demo_job[1]


@pytest.fixture(scope="module")
def runs(job):
    """Finished runs by the experiment's name."""
    return {name: Run(REPOSITORY / folder) for name, (folder,) in job["runs"].items()}


@pytest.fixture(scope="module")
def exported(job, tmp_path_factory):
    """The whole ensemble for ONNX Runtime, and what the command returned."""
    out = tmp_path_factory.mktemp("exports") / "ensemble"
    return out, export(schema.Export(run=str(Path(job["submission"]).parent), format="onnx", out=str(out)))


@pytest.fixture(scope="module")
def network_folder(exported):
    """{experiment: its exported network}."""
    return {folder.name.partition("-")[0]: folder for folder in exported[0].iterdir() if folder.is_dir()}


def assert_same(result):
    assert result["difference"]["box"] <= 0.5 and result["difference"]["confidence"] <= 1e-3
    assert 0 <= result["difference"]["output"] < 1e-4
    assert set(result["milliseconds"]) == {"1", "16"}


def test_every_network_of_an_ensemble_predicts_the_same(exported, runs, network_folder):
    _, result = exported
    assert len(result["networks"]) == 3
    for network in result["networks"].values():
        assert_same(network)
    for name, of_run in runs.items():
        stored = json.loads((network_folder[name] / "network.json").read_text())
        assert stored["weights_sha256"] == of_run.done()["weights_sha256"] and list(stored["files"]) == ["network.onnx"]
        assert stored["files"]["network.onnx"] == sha256(network_folder[name] / "network.onnx")


@pytest.mark.parametrize("format", ["litert", "saved_model"])
def test_the_exported_network_predicts_the_same(runs, tmp_path, capsys, format):
    assert_same(export(schema.Export(run=str(runs["yolov8_xs"].folder), format=format, out=str(tmp_path / "network"))))
    assert "batch of 16: Keras" in capsys.readouterr().out
    with pytest.raises(BadInput, match="is not exported for ONNX Runtime; export it with format=onnx"):
        source_of(tmp_path / "network", "onnx")


# ------------------------------------------------------------------ predict engine=onnx

ONLY_LOCKED = """
import importlib.metadata, json, re, sys
from pathlib import Path
lock = Path(sys.argv[1]).read_text()
locked = {re.sub("[-_.]+", "-", name).lower() for name in re.findall("^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}
of_module = {
    module: {re.sub("[-_.]+", "-", name).lower() for name in names}
    for module, names in importlib.metadata.packages_distributions().items()
}
class OnlyLocked:
    def find_spec(self, name, path=None, target=None):
        packages = of_module.get(name.partition(".")[0])
        if packages and not packages & locked and name.partition(".")[0] != "pneumonia":
            raise ModuleNotFoundError(f"{name} is not in the lock", name=name)
sys.meta_path.insert(0, OnlyLocked())
from pneumonia.cli import main
sys.exit(main(sys.argv[2:]))
"""


def with_all_boxes(ensemble, folder):
    """A copy whose recipe keeps the boxes of networks that learned next to nothing."""
    copy = folder / f"of {ensemble.parent.name}"
    shutil.copytree(ensemble, copy)
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text())
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"threshold": 0.0}))
    return copy


def test_an_exported_ensemble_predicts_with_the_packages_of_its_lock_only(job, exported, tmp_path):
    """Real DICOMs, by each of the networks, with the recipe: the submission that Keras predicts."""
    images = REPOSITORY / "demo" / "smoke" / "stage_2_test_images"
    folders = [with_all_boxes(of_ensemble, tmp_path) for of_ensemble in (exported[0], Path(job["submission"]).parent)]
    words = [f"run={folders[0]}", f"images={images}", f"out={tmp_path / 'onnx.csv'}", "engine=onnx", "json=true"]
    command = [sys.executable, "-P", "-c", ONLY_LOCKED, str(REPOSITORY / "requirements-predict.txt"), "predict", *words]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["submission"] == str(tmp_path / "onnx.csv")
    done = run("predict", f"run={folders[1]}", f"images={images}", f"out={tmp_path / 'keras.csv'}")
    assert done.returncode == 0, done.stderr
    ours, theirs = (read_detections(tmp_path / name) for name in ("onnx.csv", "keras.csv"))
    assert ours.ids == theirs.ids and len(ours.scores) >= len(ours.ids)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=0.5)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)


def test_one_exported_network_predicts_its_table(network_folder, tmp_path):
    dicom = sorted((REPOSITORY / "demo" / "smoke" / "stage_2_test_images").glob("*.dcm"))[0]
    settings = schema.Predict(run=str(network_folder["mobilenetv2"]), images=str(dicom), out=str(tmp_path / "a.csv"))
    result = predict(settings)
    table = read_classes(result["table"])
    assert result["picture"] is None and len(table.ids) == 1 and 0 < table.opacity[0] < 1


def test_a_folder_that_the_engine_is_not_for(job, exported, runs):
    for folder in (Path(job["submission"]).parent, runs["yolov8_xs"].folder):
        with pytest.raises(BadInput, match=r"is not exported; \./run\.sh export run=.* format=onnx"):
            source_of(folder, "onnx")
    with pytest.raises(BadInput, match="is exported; leave engine= out"):
        source_of(exported[0], "keras")


def test_a_damaged_export_is_refused(exported, network_folder, tmp_path):
    shutil.copytree(exported[0], tmp_path / "ensemble")
    shutil.rmtree(tmp_path / "ensemble" / network_folder["mobilenetv2"].name)
    with pytest.raises(BadInput, match=r"network\.json: is missing; export or copy the folder again"):
        source_of(tmp_path / "ensemble", "auto")
    folder = tmp_path / "network"
    shutil.copytree(network_folder["mobilenetv2"], folder)
    content = (folder / "network.onnx").read_bytes()
    (folder / "network.onnx").write_bytes(content[:-1] + b"x")
    with pytest.raises(BadInput, match=r"network\.onnx: is missing or damaged; export or copy it again"):
        source_of(folder, "auto")
    (folder / "network.onnx").write_bytes(content)
    text = json.loads((folder / "network.json").read_text())
    text["settings"]["an_old_setting"] = 1
    (folder / "network.json").write_text(json.dumps(text))
    with pytest.raises(BadInput, match=r"has other settings than this version .*an_old_setting.*; export it again"):
        source_of(folder, "auto")


# ------------------------------------------------------------------ what is kept


def test_onnx_runtime_gives_the_probabilities_of_the_run_s_table(runs, network_folder):
    """By a program that knows only network.onnx: softmax of its logits, without test-time variants."""
    run = runs["mobilenetv2"]
    session = onnxruntime.InferenceSession(network_folder["mobilenetv2"] / "network.onnx")
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
