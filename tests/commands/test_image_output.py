"""Localizers with an output for the whole image gate the ensemble, in the main job as in predict."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pneumonia import config
from pneumonia.commands.weights import with_weights
from pneumonia.models.pretrained import FOLDER_VARIABLE

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("image output")]


def run(*words):
    command = [sys.executable, "-P", "-m", "pneumonia", *words]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    out = tmp_path_factory.mktemp("submission")
    said = run("fold=0", "data=demo", "preset=smoke", "ensemble=cpu", f"out={out}", "json=true")
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    recipe |= {"threshold": 0.0, "min_ratio_to_top": 0.0}
    recipe["gate"] |= {"cutoff": 0.0, "exponent": 1.0}
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return out, json.loads(said.splitlines()[-1]), said


def test_the_outputs_are_members_that_gate(job):
    folder, result, said = job
    outputs = {"unet_lite0:image", "yolov8_lite0:image"}
    assert set(result["members"]) == {"unet_lite0", "yolov8_lite0", *outputs}
    assert all("auc" in result["members"][name] for name in outputs)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert {member["name"] for member in recipe["classifiers"]} == outputs
    auc = result["held_out_auc"]
    assert auc["low"] <= auc["value"] <= auc["high"]
    assert "Held-out AUC" in (folder / "report.html").read_text() and f"{auc['value']:.3f}" in said


def test_predict_gives_the_bits_of_the_main_jobs_tables(job, tmp_path):
    folder, result, _ = job
    images = REPOSITORY / "demo" / "smoke" / "stage_2_test_images"
    run("predict", f"run={folder}", f"images={images}", f"out={tmp_path / 'predicted.csv'}")
    runs = {name: REPOSITORY / paths[0] for name, paths in result["runs"].items()}
    members = {name: str(path / "test_detections.csv") for name, path in runs.items()}
    classifiers = {f"{name}:image": str(path / "test_classes.csv") for name, path in runs.items()}
    words = (f"members={members}", f"classifiers={classifiers}", f"out={tmp_path / 'applied.csv'}")
    run("apply", f"recipe={folder / 'recipe.yaml'}", *words)
    predicted, applied = (
        dict(csv.reader((tmp_path / f"{name}.csv").read_text().splitlines())) for name in ("predicted", "applied")
    )
    assert predicted == applied and len(applied) == 21 and any(list(applied.values())[1:])
    classes = [file.read_text() for file in (tmp_path / "predicted-classes.csv", tmp_path / "applied-classes.csv")]
    assert classes[0] == classes[1] == (folder / "classes.csv").read_text()
    assert len(set(classes[0].splitlines()[1:])) == 20


def test_a_member_whose_weights_cannot_be_had_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "src"))
    names = config.read_ensemble("small")["members"]
    experiments = {name: config.read_experiment(name, "full") for name in names}
    left = with_weights(experiments, "small", "full")
    assert list(left) == ["unet_lite0", "yolov8_lite0"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("densenet121 is left out: ") and str(tmp_path) in line and "weights=none" in line
