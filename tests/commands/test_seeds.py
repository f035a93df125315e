"""The main job with several seeds: each member's networks of a fold act as one."""

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from command_line import REPOSITORY, run
from sklearn.metrics import roc_auc_score

from pneumonia.boxes.predictions import read_classes, read_detections, write_classes, write_detections
from pneumonia.boxes.same_model import merge_tables
from pneumonia.runs.run import Run, experiment_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("main job")]


@pytest.fixture(scope="module")
def job(demo_job, tmp_path_factory):
    """The first seed is trained already."""
    out = tmp_path_factory.mktemp("seeds")
    done = run("fold=0", "data=demo", "preset=smoke", "seeds=2", f"out={out}", "json=true")
    assert done.returncode == 0, done.stderr
    assert "fold 0 seed 1: " in done.stderr and "fold 0 seed 0: " not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def runs_of(job):
    return {name: [Run(REPOSITORY / path) for path in paths] for name, paths in job["runs"].items()}


def test_every_member_has_a_run_of_each_seed(job, demo_job):
    assert job["seeds"] == 2 and job["folds"] == [0]
    for name, runs in runs_of(job).items():
        assert [experiment_of(each).seed for each in runs] == [0, 1]
        assert job["runs"][name][0] == demo_job[1]["runs"][name][0]
        assert runs[0].weights.read_bytes() != runs[1].weights.read_bytes()
    card = Path(job["model_card"]).read_text()
    assert "weights of yolov8_xs seed 0, fold 0" in card and "weights of yolov8_xs seed 1, fold 0" in card


def test_a_member_s_score_is_that_of_its_mean(job):
    runs = runs_of(job)["mobilenetv2"]
    tables = [read_classes(each.table("oof", "classifier")) for each in runs]
    target = pd.read_csv(runs[0].folder / "held_out.csv").set_index("patientId")["target"].loc[list(tables[0].ids)]
    mean = (tables[0].opacity + tables[1].opacity) / 2
    assert job["members"]["mobilenetv2"]["auc"] == pytest.approx(roc_auc_score(target, mean))


def test_predict_takes_every_seed_like_the_job(job, tmp_path):
    """With a recipe that lets every box pass."""
    ensemble = tmp_path / "ensemble"
    shutil.copytree(Path(job["submission"]).parent, ensemble)
    recipe = yaml.safe_load((ensemble / "recipe.yaml").read_text()) | {"threshold": 0.0, "min_ratio_to_top": 0.0}
    recipe["gate"]["cutoff"] = 0.0
    (ensemble / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    members, classifiers = {}, {}
    for name, runs in runs_of(job).items():
        kind = runs[0].done()["kind"]
        is_localizer = kind == "localizer"
        read, write = (read_detections, write_detections) if is_localizer else (read_classes, write_classes)
        file = tmp_path / f"{name}.csv"
        write(file, merge_tables([read(each.table("test", kind)) for each in runs]))
        (members if is_localizer else classifiers)[name] = str(file)
    applied, predicted = tmp_path / "applied.csv", tmp_path / "predicted.csv"
    tables = f"members={members}", f"classifiers={classifiers}"
    done = run("apply", f"recipe={ensemble / 'recipe.yaml'}", *tables, f"out={applied}")
    assert done.returncode == 0, done.stderr
    image = sorted((REPOSITORY / "demo" / "smoke" / "stage_2_test_images").glob("*.dcm"))[3]
    done = run("predict", f"run={ensemble}", f"images={image}", f"out={predicted}")
    assert done.returncode == 0, done.stderr
    rows = [dict(csv.reader(path.read_text().splitlines()[1:])) for path in (applied, predicted)]
    assert rows[1][image.stem] and rows[1] == {image.stem: rows[0][image.stem]}
