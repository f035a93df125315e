"""A finished run, repeated: the same bits, or told where they part."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pneumonia.commands.rerun import compare_tables

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("rerun")]


def run(*words, **env):
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), **env}
    command = [sys.executable, "-P", "-m", "pneumonia", *words, "json=true"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    done, result = run("train", "experiment=report/fcnn", "preset=smoke", "data=demo", "image_size=32", f"out={out}")
    assert done.returncode == 0, done.stderr
    return Path(result["runs"][0])


def test_a_run_repeats_bit_by_bit(folder):
    """Whatever backend, threads and kernels this shell asks for: those of the first time are taken."""
    shell = {"KERAS_BACKEND": "jax", "TF_NUM_INTRAOP_THREADS": "3", "NPROC": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    done, result = run("rerun", f"run={folder}", **shell)
    assert done.returncode == 0, done.stderr
    assert result["same"] and not {"backend", "threads", "onednn"} & set(result["changed"])
    assert set(result["files"]) == {"weights.safetensors", "metrics.jsonl", "oof_classes.csv", "test_classes.csv"}
    assert "repeated bit by bit" in done.stdout
    assert not list(folder.parent.glob(".rerun-*"))


def test_what_differs_is_named(folder):
    table = folder / "oof_classes.csv"
    before = table.read_text()
    table.write_text(before.replace("0.", "0.0", 1))
    first = (folder / "environment.json").read_text()
    environment = json.loads(first)
    environment |= {"processor": "another", "learned_from": {"weights": "1"}, "git_dirty": True}
    environment["starts"].append({"time": "noon", "changed": {"threads": 64}})
    (folder / "environment.json").write_text(json.dumps(environment))
    try:
        done, result = run("rerun", f"run={folder}")
    finally:
        table.write_text(before)
        (folder / "environment.json").write_text(first)
    assert done.returncode == 0 and not result["same"]
    assert [name for name, same in result["files"].items() if not same] == ["oof_classes.csv"]
    assert result["changed"]["processor"][0] == "another" and "NOT repeated" in done.stdout
    assert result["changed"]["learned_from.weights"] == ["1", None]
    assert (
        "the source had uncommitted changes then" in done.stdout and "continued at noon with threads 64" in done.stdout
    )
    assert "oof_classes.csv: probabilities differ by " in done.stdout


def test_how_far_detections_are_apart(tmp_path):
    header = "patientId,PredictionString\n"
    (tmp_path / "before.csv").write_text(header + "a,0.5 0 0 9 9\nb,0.25 0 0 9 9 0.125 5 5 9 9\nc,\n")
    (tmp_path / "now.csv").write_text(header + "a,0.25 0 0 9 9\nb,0.25 0 0 9 9\nc,\n")
    text = compare_tables(tmp_path / "before.csv", tmp_path / "now.csv")
    assert text == "1 of 3 images have another number of boxes; in the others confidences differ by 0.25 at most"


def test_how_far_probabilities_are_apart_in_any_class(tmp_path):
    header = "patientId,normal,not_normal,opacity\n"
    (tmp_path / "before_classes.csv").write_text(header + "a,0.5,0.25,0.25\n")
    (tmp_path / "now_classes.csv").write_text(header + "a,0.25,0.5,0.25\n")
    text = compare_tables(tmp_path / "before_classes.csv", tmp_path / "now_classes.csv")
    assert text == "probabilities differ by 0.25 at most"


def test_what_cannot_be_repeated_is_refused(folder, tmp_path):
    done, _ = run("rerun", f"run={tmp_path}")
    assert done.returncode == 2 and "is not a finished run" in done.stderr


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("environment.json", {"images_sha256": "1"}, "cannot be repeated: images_sha256 was 1 and is now "),
        ("run.json", {}, "/no/such/folder: there is no complete image cache"),
    ],
)
def test_a_run_whose_data_changed_or_is_gone_is_not_trained_again(folder, name, change, says):
    file = folder / name
    before = file.read_text()
    content = json.loads(before)
    if name == "run.json":
        change = {"prepared": content["prepared"] | {"cache": "/no/such/folder"}}
    file.write_text(json.dumps(content | change))
    try:
        done, _ = run("rerun", f"run={folder}")
    finally:
        file.write_text(before)
    assert done.returncode == 3 and says in done.stderr and "training again" not in done.stderr
    assert not list(folder.parent.glob(".rerun-*"))


def test_what_is_trained_again_is_what_lies_in_the_folder(folder, tmp_path):
    """The label table may have gone meanwhile, and the run may be called by its own command."""
    done, result = run("train_run", f"run={folder}")
    assert done.returncode == 0 and result["runs"] == [str(folder)] and "done before" in done.stderr
    done, _ = run("train_run", f"run={tmp_path}")
    assert done.returncode == 2 and "is not the folder of a run" in done.stderr
