"""Grad-CAM pictures of a run that the command trained: both kinds of findings, and the output that the table is of."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from pneumonia import schema
from pneumonia.commands import evaluate
from pneumonia.data.cache import Cache
from pneumonia.data.labels import NIH
from pneumonia.data.samples import CachedImages
from pneumonia.models.registry import family
from pneumonia.reports import grad_cam
from pneumonia.reports.classifier_figures import overlay_heat_map
from pneumonia.reports.grad_cam_gallery import grad_cam_gallery
from pneumonia.reports.held_out import read_held_out
from pneumonia.runs import checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gallery")]
SMALLEST = ("experiment=mobilenetv2", "preset=smoke", "data=demo", "fold=0", "n_folds=2", "image_size=64",
            "model.alpha=0.35")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A smoke run that is sure of every opacity, and of the first image without any."""
    out = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-P", "-m", "pneumonia", "train", *SMALLEST, f"out={out}", "json=true"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout.splitlines()[-1])["runs"][0])
    held_out = pd.read_csv(folder / "held_out.csv", dtype={"patientId": str})
    sure = (held_out["target"] == 1) | (held_out.index == held_out.index[held_out["target"] == 0][0])
    opacity = np.where(sure, 0.9, 0.1)
    table = {"patientId": held_out["patientId"], "normal": 0.0, "not_normal": 1 - opacity, "opacity": opacity}
    pd.DataFrame(table).to_csv(folder / "oof_classes.csv", index=False)
    return folder


def test_true_and_false_positives_are_shown_on_the_page(run):
    pictures = grad_cam_gallery(read_held_out(str(run)))
    captions = [caption for _, caption in pictures]
    assert captions[0].startswith("true positive, 0.90 · ")
    assert captions[-1].startswith(("false positive (normal), 0.90 · ", "false positive (not_normal), 0.90 · "))
    assert all(decoded(uri).shape == (320, 320, 3) for uri, _ in pictures)
    evaluate.evaluate(schema.Evaluate(run=str(run), draws=50))
    page = (run / "evaluation.html").read_text()
    assert all(uri in page for uri, _ in pictures) and "false positive (" in page


def test_of_nih_s_labels_pneumonia_is_shown(run, tmp_path):
    """The same run as one of NIH's fourteen labels, in which only Pneumonia looks at bright features."""
    folder = tmp_path / "demo" / "nih" / "fold0"
    shutil.copytree(run, folder)
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["model"] |= {"head": "nih", "cell_loss": 0.0}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    network = family(schema.model_settings(name="mobilenetv2", alpha=0.35, head="nih"), 64).build()
    kernel, bias = network.get_layer("logits").get_weights()
    weights = np.where(np.arange(14) == NIH.positive_index, 1.0, -1.0)
    network.get_layer("logits").set_weights([np.ones_like(kernel) * weights, bias])
    checksum = checkpoint.write_weights(folder / "weights.safetensors", network.variables)
    done = json.loads((folder / "done.json").read_text()) | {"weights_sha256": checksum}
    (folder / "done.json").write_text(json.dumps(done))
    found = read_held_out(str(folder))
    uri, _ = grad_cam_gallery(found)[0]
    first = found.table[found.table["target"] == 1]["patientId"].iloc[0]
    image = CachedImages(Cache(found.runs[0].start()["prepared"]["cache"]), [first], 64)[0]
    heat = grad_cam.heat_map(network, image[None, ..., None], NIH.positive_index)[0]
    assert heat.any()
    np.testing.assert_allclose(decoded(uri), overlay_heat_map(image, heat)[..., ::-1], atol=40)
    assert np.abs(decoded(uri) - overlay_heat_map(image, heat)[..., ::-1].astype(float)).mean() < 3


def decoded(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
