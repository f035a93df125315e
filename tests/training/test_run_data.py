"""What a run learns from others of the same data: command lines on the smallest demo, with the quickest network."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from pneumonia import config, schema
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.system.errors import BadInput
from pneumonia.training.run_data import RunData, inner_people, run_data_of

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("trained runs")]
QUICK = ("experiment=report/fcnn", "preset=smoke", "data=demo", "n_folds=2", "image_size=32")


def train(out, *words):
    command = [sys.executable, "-P", "-m", "pneumonia", "train", *QUICK, f"out={out}", *words, "json=true"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    return done, [Path(folder) for folder in result.get("runs", [])]


@pytest.fixture(scope="module")
def both_folds(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    done, folders = train(out, "fold=all")
    assert done.returncode == 0, done.stderr
    return out, folders


def test_the_held_out_table_says_who_was_held_out(both_folds):
    _, folders = both_folds
    tables = [pd.read_csv(folder / "held_out.csv", dtype=str) for folder in folders]
    assert not set(tables[0]["group"]) & set(tables[1]["group"])
    assert list(tables[0].columns) == [
        "patientId", "target", "class", "group", "sex", "age", "view", "fold", "boxes"
    ]  # fmt: skip
    assert ((tables[0]["target"] == "1") == tables[0]["boxes"].notna()).all()
    oof = pd.read_csv(folders[0] / "oof_classes.csv", dtype=str)
    assert oof["patientId"].tolist() == tables[0]["patientId"].tolist()


def test_hard_negatives_come_from_the_other_folds_predictions(both_folds):
    out, folders = both_folds
    label = folders[0].parent.relative_to(folders[0].parents[2]).as_posix()
    words = ("fold=0", f"sampling.hard_from={label}", "sampling.hard_negatives=0.5", "sampling.positives=0.5")
    done, runs = train(out, *words)
    assert done.returncode == 0, done.stderr
    assert runs[0].parent != folders[0].parent
    done, _ = train(out, "fold=0", "sampling.hard_from=report/fcn", *words[2:])
    assert done.returncode == 2
    assert "there are no runs of 'report/fcn'" in done.stderr and "report/fcnn-smoke" in done.stderr


def test_a_run_starts_from_another_s_backbone_on_the_same_fold(both_folds):
    out, _ = both_folds
    small = ("fold=0", "model.name=mobilenet", "model.alpha=0.25")
    done, first = train(out, *small)
    assert done.returncode == 0, done.stderr
    label = first[0].parent.relative_to(first[0].parents[2]).as_posix()
    done, second = train(out, *small, f"model.weights=run:{label}", "model.head=classes")
    assert done.returncode == 0, done.stderr
    assert f"backbone weights: {first[0]}" in done.stderr and "weights of the whole network" not in done.stderr
    assert yaml.safe_load((second[0] / "config.yaml").read_text())["model"]["weights"] == f"run:{label}"
    done, _ = train(out, *small[1:], "fold=1", f"model.weights=run:{label}", "model.head=classes")
    assert done.returncode == 2 and "no finished run on this fold" in done.stderr

    weights = first[0] / "weights.safetensors"
    done, third = train(out, *small, f"model.weights={weights}", "epochs=2")
    assert done.returncode == 0 and "weights of the whole network, not only of the backbone" in done.stderr, done.stderr
    assert third[0] != first[0]
    for _ in range(2):
        done, _ = train(out, *small[1:], "fold=1", f"model.weights={weights}")
        assert done.returncode == 2
        assert "another fold, which may have seen the images held out here; take model.weights=run:" in done.stderr
        # the loss of a table makes its weights no less trained on these images
        (first[0] / "oof_classes.csv").unlink(missing_ok=True)


def test_the_report_s_split_trains_looks_and_scores_on_its_own_parts(tmp_path):
    done, folders = train(tmp_path, "split=report")
    assert done.returncode == 0, done.stderr
    assert folders[0].name == "fold-report"
    table = pd.read_csv(folders[0] / "held_out.csv", dtype=str)
    assert len(table) == 6  # a tenth of 60 images
    assert "inner_loss" in (folders[0] / "metrics.jsonl").read_text()
    done, _ = train(tmp_path, "split=halves")
    assert done.returncode == 2 and "report" in done.stderr


def test_age_sex_and_view_go_through_training_and_prediction(tmp_path):
    done, folders = train(tmp_path, "fold=0", "model.inputs=[age,view]")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(folders[0] / "test_classes.csv")) == 20


@pytest.fixture
def nih_run(tmp_path, monkeypatch):
    """The demo in two folds, one person of the second in the holdout; an NIH folder with everybody in it; settings."""
    settings = config.from_arguments(schema.Train, [*QUICK, "model.head=nih"])
    data = prepare(settings, resolve(settings), [32])
    table = data.folds.assign(fold=data.folds["fold"].astype(str))
    table.loc[table["group"] == table[table["fold"] == "1"]["group"].iloc[0], "fold"] = "holdout"
    names = [f"{int(person):08d}_000.png" for person in sorted(set(table["group"]))]
    rows = [f"{name},No Finding,0,{name[:8]},50,M,PA" for name in names]
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows, ""]))
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.zeros((32, 32), np.uint8))
    monkeypatch.setattr(config, "REPOSITORY", tmp_path / "repository")  # where the squares are kept
    return dataclasses.replace(data, folds=table), str(tmp_path), config.experiment_of(settings)


def test_pretraining_on_nih_sees_nobody_who_is_held_out(nih_run):
    data, folder, experiment = nih_run
    material = run_data_of(data, 0, experiment, folder)
    people = {str(int(name[:8])) for part in (material.samples, material.inner) for name in part.ids}
    assert not people & (set(material.held_out["group"]) | set(material.holdout["group"]))
    assert len(material.held_out) and len(material.holdout)
    assert people == set(data.folds[data.folds["fold"] == "1"]["group"])


@pytest.mark.parametrize("fold", ["0", "holdout"])
def test_held_out_images_of_nobody_known_are_named(nih_run, fold):
    data, folder, experiment = nih_run
    nobody = sorted(data.folds[data.folds["fold"] == fold]["patientId"])[:4]
    group = data.study["group"].where(~data.study["patientId"].isin(nobody), data.study["patientId"])
    data = dataclasses.replace(data, study=data.study.assign(group=group))
    named = ", ".join(nobody[:3])
    match = rf"mapping\.csv: has no person for {len(nobody)} held-out images \({named}.*official JSON"
    with pytest.raises(BadInput, match=match):
        run_data_of(data, 0, experiment, folder)
    with pytest.raises(BadInput, match="give mapping="):
        run_data_of(dataclasses.replace(data, mapping=None), 0, experiment, folder)


@pytest.mark.parametrize("scored", ["val", "test"])
def test_the_scored_part_of_a_published_split_measures_nothing_during_training(nih_run, scored):
    data, _, experiment = nih_run
    experiment = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, head="binary"))
    fold = np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    images = data.study["patientId"].to_numpy(copy=True)
    if scored == "val":  # the test images are others, without labels
        images[50:] = [f"other {number}" for number in range(10)]
    table = pd.DataFrame({"patientId": images, "group": data.study["group"], "fold": fold})
    material = run_data_of(dataclasses.replace(data, folds=table), "published", experiment)
    train, val, test = (set(data.study["patientId"][fold == part]) for part in ("train", "val", "test"))
    assert set(material.held_out["patientId"]) == {"val": val, "test": test}[scored]
    trained_on, measured = set(material.samples.ids), set(material.inner.ids)
    if scored == "test":
        assert trained_on == train and measured == val
    else:
        assert trained_on | measured == train and measured and not trained_on & measured


def test_the_inner_split_leaves_somebody_to_train_on():
    groups = pd.Series(["b", "a", "c", "a"])
    settings = schema.Experiment(inner_val_fraction=0.3)
    assert len(inner_people(groups, settings)) == 1
    assert not len(inner_people(groups, dataclasses.replace(settings, inner_val_fraction=0.0)))
    for people, fraction in ((groups, 0.95), (groups[1:2], 0.1)):
        with pytest.raises(BadInput, match=r"inner_val_fraction: an inner split of .* takes all \d people"):
            inner_people(people, dataclasses.replace(settings, inner_val_fraction=fraction))


def test_held_out_boxes_come_back_as_they_were(tmp_path):
    boxes = np.array([[1000.123456, 0.1, 1 / 3, 12.0]])
    row = {"patientId": "a", "target": 1, "class": "opacity", "group": "p", "sex": "F", "age": 1.0, "view": "AP"}
    RunData(None, None, pd.DataFrame([row | {"boxes": boxes}]), None).write_held_out(tmp_path / "held_out.csv", 0)
    text = pd.read_csv(tmp_path / "held_out.csv")["boxes"][0]
    assert text.endswith(" 12") and [float(number) for number in text.split()] == boxes[0].tolist()
