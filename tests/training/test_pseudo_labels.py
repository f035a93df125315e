"""Test images labelled by another experiment's run on the same fold."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes.predictions import ClassProbabilities, Detections, write_classes, write_detections
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.data.samples import CachedImages
from pneumonia.runs.run import Run
from pneumonia.schema import Experiment, model_settings
from pneumonia.schema.experiment import PseudoLabels
from pneumonia.schema.relations import check_relations
from pneumonia.system.errors import BadInput
from pneumonia.system.files import read_json, sha256
from pneumonia.training.pseudo_labels import with_pseudo_labels
from pneumonia.training.run_data import run_data_of

SIZE = 64
BOX = (100.0, 200.0, 400.0, 300.0)
BEST = [0.9, 0.02, 0.3, 0.5, 0.04]  # of the first test images; the others have no box


@pytest.fixture(scope="module")
def data():
    job = schema.Job(data="demo", preset="smoke")
    return prepare(job, resolve(job), [SIZE])


@pytest.fixture
def tests(data):
    index = data.cache.index
    return index.loc[index["split"] == "test", "patientId"].tolist()


def learner(name="unet", **settings) -> Experiment:
    model = model_settings(name, **settings)
    return Experiment(model, image_size=SIZE, pseudo_labels=PseudoLabels("teacher", min_score=0.5, max_negative=0.05))


def teach(folder, tests, with_classes=True, kind="localizer"):
    """Write a finished run `teacher` on fold 0, each confident box beside a faint one; return the run that learns."""
    run = Run(folder / "teacher/fold0")
    run.folder.mkdir(parents=True)
    best = BEST + [0.0] * (len(tests) - len(BEST))
    boxes = [np.array([BOX, (10, 10, 50, 50)]) if score else np.empty((0, 4)) for score in best]
    scores = [np.array([score, 0.01]) if score else np.empty(0) for score in best]
    tables = {"test": run.table("test", kind)}
    write_detections(tables["test"], Detections.from_lists(tests, boxes, scores))
    if with_classes:
        normal = np.linspace(0, 0.8, len(tests))
        tables["test_classes"] = run.table("test", "classifier")
        columns = np.full(len(tests), 0.2), normal, 0.8 - normal
        write_classes(tables["test_classes"], ClassProbabilities(tuple(tests), *columns))
    done = {"kind": kind, "tables": {name: {"file": path.name} for name, path in tables.items()}}
    (run.folder / "done.json").write_text(json.dumps(done))
    return Run(folder / "mine/fold0")


def test_confident_boxes_become_labels_and_empty_images_negatives(tmp_path, data, tests):
    experiment = learner(image_loss=0.5)
    own = run_data_of(data, 0, experiment).samples
    both = with_pseudo_labels(own, teach(tmp_path, tests), experiment, data.cache, "mine")
    labelled = [name for name in tests if name != tests[2]]  # neither sure of a box nor of none
    assert both.ids.tolist() == [*own.ids, *labelled]
    new = slice(len(own), None)
    for name, boxes in zip(both.ids[new], both.boxes[new]):
        expected = [np.array(BOX) * SIZE / 1024] if name in (tests[0], tests[3]) else []
        np.testing.assert_allclose(boxes, np.reshape(expected, (-1, 4)))
    half = len(tests) // 2
    assert dict(zip(both.ids[new], both.classes[new])) == {
        name: 2 if name in (tests[0], tests[3]) else int(row < half) for row, name in enumerate(tests) if row != 2
    }
    np.testing.assert_array_equal(both.images[len(own)], CachedImages(data.cache, tests[:1], SIZE)[0])
    np.testing.assert_array_equal(both.images[3], own.images[3])
    np.testing.assert_array_equal(both.classes[: len(own)], own.classes)
    assert both.person_features.shape == (len(both), own.person_features.shape[1])


def test_the_order_of_the_table_changes_no_label(tmp_path, data, tests):
    experiment = learner()
    own = run_data_of(data, 0, experiment).samples
    labels = []
    for name, order in (("one", tests), ("other", tests[::-1])):
        run = teach(tmp_path / name, tests)
        table = run.folder.parents[1] / "teacher/fold0/test_detections.csv"
        header, *rows = table.read_text().splitlines()
        rows.sort(key=lambda row: order.index(row.split(",")[0]))
        table.write_text("\n".join([header, *rows]) + "\n")
        both = with_pseudo_labels(own, run, experiment, data.cache, "mine")
        labels.append({image: (kind, boxes.tolist()) for image, kind, boxes in zip(both.ids, both.classes, both.boxes)})
    assert labels[0] == labels[1]


def test_without_an_experiment_nothing_is_added(tmp_path, data):
    experiment = dataclasses.replace(learner(), pseudo_labels=PseudoLabels())
    own = run_data_of(data, 0, experiment).samples
    assert with_pseudo_labels(own, Run(tmp_path / "mine/fold0"), experiment, data.cache, "mine") is own


def test_what_cannot_label_is_refused(tmp_path, data, tests):
    def says(experiment, run, text):
        own = run_data_of(data, 0, experiment).samples
        with pytest.raises(BadInput, match=text):
            with_pseudo_labels(own, run, experiment, data.cache, "mine")

    says(learner(image_loss=0.5), teach(tmp_path / "a", tests, with_classes=False), "no output for the whole image")
    says(learner(), teach(tmp_path / "b", tests, kind="classifier"), "has predicted no boxes in test images")
    run = teach(tmp_path / "c", tests)
    says(learner(), Run(run.folder.with_name("fold1")), "has no finished run on this fold")
    says(learner(), Run(tmp_path / "d/mine/fold0"), "there are no runs of 'teacher'")


def test_three_classes_need_no_image_output_where_one_is_learned(tmp_path, data, tests):
    own = run_data_of(data, 0, learner()).samples
    both = with_pseudo_labels(own, teach(tmp_path, tests, with_classes=False), learner(), data.cache, "mine")
    assert set(both.classes[len(own) :].tolist()) == {0, 2}


@pytest.mark.slow
@pytest.mark.xdist_group("trained runs")
def test_the_command_line_learns_from_them(tmp_path):
    def train(*words):
        common = ("fold=0", "preset=smoke", "data=demo", f"out={tmp_path}", "image_size=32", "json=true")
        command = [sys.executable, "-P", "-m", "pneumonia", "train", *common, *words]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr, Run(Path(json.loads(done.stdout.splitlines()[-1])["runs"][0]))

    _, teacher = train("experiment=report/mobilenetv2_localization")
    label = teacher.folder.parent.relative_to(teacher.dataset).as_posix()
    limits = ("pseudo_labels.min_score=0.02", "pseudo_labels.max_negative=0.01")
    said, run = train("experiment=report/fcnn", f"pseudo_labels.experiment={label}", *limits)
    assert "test images with pseudo-labels" in said
    learned_from = read_json(run.folder / "environment.json")["learned_from"]
    assert learned_from == {"pseudo_labels": sha256(teacher.table("test", "localizer"))}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"pseudo_labels": PseudoLabels(min_score=0.3)}, "has no effect without an experiment"),
        ({"pseudo_labels": PseudoLabels("a", min_score=0.3, max_negative=0.3)}, "0.3 is not below"),
        (
            {"pseudo_labels": PseudoLabels("a"), "model": model_settings("densenet121", head="nih")},
            "learns other labels",
        ),
        (
            {
                "pseudo_labels": PseudoLabels("a"),
                "sampling": schema.Sampling(0.5, hard_negatives=0.5, hard_from="b"),
            },
            "hard_from has no confidence in test images",
        ),
    ],
)
def test_settings_that_contradict_each_other(settings, says):
    with pytest.raises(BadInput, match=says):
        check_relations(dataclasses.replace(Experiment(model_settings("unet")), **settings), has_inner=True)
