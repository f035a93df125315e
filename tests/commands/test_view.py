"""`view` of predictions from any source; tests/commands/test_main_job.py has that of the main job's submissions."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pneumonia import cli, schema
from pneumonia.boxes.predictions import Detections, write_detections
from pneumonia.commands.view import view
from pneumonia.demo.folder import demo_folder
from pneumonia.metrics.iou_map import read_truth
from pneumonia.system.errors import BadInput


@pytest.fixture(scope="module")
def demo():
    return demo_folder("smoke")


@pytest.fixture
def predictions(tmp_path, demo):
    truth = read_truth(demo / "stage_2_train_labels.csv")
    truth = truth.rows(np.concatenate([np.flatnonzero(truth.positive)[:4], np.flatnonzero(~truth.positive)[:2]]))
    boxes = [truth.boxes[start:end] for start, end in zip(truth.offsets[:-1], truth.offsets[1:])]
    for name in ("fused", "one"):
        write_detections(
            tmp_path / f"{name}.csv", Detections.from_lists(truth.ids, boxes, [np.full(len(own), 0.5) for own in boxes])
        )
    return tmp_path


def test_any_predictions_with_their_labels_and_radiographs(predictions, demo):
    settings = {
        "submission": str(predictions / "fused.csv"),
        "labels": str(demo / "stage_2_train_labels.csv"),
        "members": [str(predictions / "one.csv")],
    }
    result = view(schema.View(**settings, data="demo", preset="smoke", image_size=64, out=str(predictions / "page")))
    assert result["page"] == predictions / "page" / "view.html" and result["images"] == 6
    data = json.loads(re.search(r'id="data">(.*?)</script>', result["page"].read_text(), re.DOTALL)[1])
    assert data["members"] == ["one.csv"] and data["groups"] == ["sex", "age", "view", "box size"]
    assert all(box[5] == 255 for image in data["images"] for box in image["boxes"])
    assert (
        sum(len(image["truth"]) for image in data["images"]) == sum(len(image["boxes"]) for image in data["images"]) > 0
    )
    assert [image["size"] for image in data["images"]] == [[1024, 1024]] * 6
    assert len(list((predictions / "page" / "view_images" / "full").iterdir())) == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["submission=nobody"], "there is no submission 'nobody'"),
        (["submission=FILE"], "labels= is missing"),
        (["submission=FILE", "labels=LABELS"], "data= is missing"),
        (
            ["submission=OTHER", "labels=LABELS", "data=demo", "preset=smoke"],
            "1 of its images are not in stage_2_train",
        ),
        (["submission=FILE", "labels=LABELS", "data=demo", "preset=smoke", "members=[OTHER]"], "covers other images"),
    ],
)
def test_what_is_refused_is_one_line(predictions, demo, capsys, words, says):
    (predictions / "other.csv").write_text("patientId,PredictionString\nnobody,\n")
    names = {
        "FILE": str(predictions / "fused.csv"),
        "OTHER": str(predictions / "other.csv"),
        "LABELS": str(demo / "stage_2_train_labels.csv"),
    }
    words = [re.sub(r"FILE|OTHER|LABELS", lambda match: names[match[0]], word) for word in words]
    assert cli.main(["view", *words, f"out={predictions / 'page'}"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and says in errors[0]
    assert not Path(predictions / "page").exists()


def test_the_text_of_a_missing_submission_lists_the_known_ones():
    with pytest.raises(BadInput, match=r"submission= is missing; (known submissions: |\./run\.sh fold=0 makes one)"):
        view(schema.View())
