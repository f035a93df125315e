"""What the model card says of groups of people and of the weights that networks start from."""

import numpy as np
import pandas as pd
import pytest

from pneumonia import config, schema
from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.auc import auc
from pneumonia.metrics.iou_map import Truth, mean_iou_map
from pneumonia.reports.markdown import table
from pneumonia.reports.model_card import group_scores
from pneumonia.reports.weight_origins import UNKNOWN, origin_of
from pneumonia.schema.models import KERAS_APPLICATIONS

IDS = [f"image-{number}" for number in range(12)]


def held_out():
    """Twelve images of six people; women's boxes are found, men's are missed."""
    rng = np.random.default_rng(3)
    study = pd.DataFrame({"patientId": IDS[::-1]})
    study["group"] = [f"person-{number // 2}" for number in range(11, -1, -1)]
    study["sex"] = ["F" if int(name[-1]) < 3 else "M" for name in study["group"]]
    study["age"], study["view"] = 50.0, None
    positive = np.arange(12) % 2 == 0
    boxes = [np.array([[10.0, 10, 40, 40]]) if each else np.empty((0, 4)) for each in positive]
    truth = Truth.from_lists(IDS, boxes)
    found = [
        (each, np.array([0.9])) if row < 6 else (each + 200, np.array([0.8]))
        for row, each in enumerate(np.array([[10.0, 10, 40, 40]]) for _ in IDS)
    ]
    found = [pair if is_positive else (np.empty((0, 4)), np.empty(0)) for pair, is_positive in zip(found, positive)]
    detections = Detections.from_lists(IDS, [pair[0] for pair in found], [pair[1] for pair in found])
    return study, truth, detections, rng.random(12)


def test_each_group_s_score_and_auc_are_those_of_its_images():
    study, truth, detections, confidences = held_out()
    rows = {(row["of"], row["is"]): row for row in group_scores(study, truth, detections, confidences)}
    assert set(rows) == {("sex", "F"), ("sex", "M"), ("age", "41 to 60"), ("view", "unknown")}
    for sex, chosen in (("F", slice(0, 6)), ("M", slice(6, 12))):
        row, part = rows["sex", sex], truth.select(IDS[chosen])
        assert (row["images"], row["positives"], row["people"]) == (6, 3, 3)
        assert row["score"]["value"] == mean_iou_map(part, detections.select(IDS[chosen]))
        assert row["auc"]["value"] == auc(part.positive, confidences[chosen])
    assert rows["sex", "F"]["score"]["value"] == 1 and rows["sex", "M"]["score"]["value"] == 0
    whole = rows["view", "unknown"]
    assert whole["score"]["value"] == mean_iou_map(truth, detections) and whole["people"] == 6
    assert whole["score"]["low"] <= whole["score"]["value"] <= whole["score"]["high"]
    assert all(row["auc"] is None for row in group_scores(study, truth, detections, None))


def test_every_experiment_s_start_has_a_source_and_a_licence_or_none():
    for name in config.experiment_names():
        for preset in ("smoke", "full"):
            origin = origin_of(config.read_experiment(name, preset).model)
            assert origin.source and bool(origin.licence) == (not origin.source.startswith("nothing"))


@pytest.mark.parametrize(
    ("settings", "source", "licence"),
    [
        ({"name": "densenet121", "weights": "imagenet"}, "keras.applications' densenet121", "BSD 3-clause"),
        ({"name": "mobilenet_unet", "weights": "imagenet"}, "keras.applications' mobilenet", "Apache 2.0"),
        ({"name": "mobilenetv3small", "weights": "imagenet"}, "keras.applications' mobilenetv3small", UNKNOWN),
        ({"name": "segmentation_unet", "weights": "imagenet"}, "segmentation-models' mobilenetv2", UNKNOWN),
        ({"name": "unet", "backbone": "efficientnetlite0", "weights": "imagenet"}, "efficientnet-lite0", "Apache 2.0"),
        ({"name": "chexnet", "weights": "chexnet"}, "NIH ChestX-ray14", UNKNOWN),
        ({"name": "yolov8", "weights": "run:yolov8_xs"}, "the runs of yolov8_xs", "as those of its own start"),
    ],
)
def test_origins(settings, source, licence):
    origin = origin_of(schema.model_settings(**settings))
    assert source in origin.source and origin.licence == licence


def test_every_backbone_of_keras_has_an_origin():
    for name in KERAS_APPLICATIONS:
        assert origin_of(schema.model_settings(name, weights="imagenet")).licence


def test_a_cell_with_a_bar_stays_one_cell():
    assert table(("a", "b"), [("x|y", 1)]).split("\n")[-1] == "| x\\|y | 1 |"
