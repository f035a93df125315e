"""COCO's AP: the figures of pycocotools' own summary, from the files that `export` writes."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pneumonia.boxes.exchange import coco
from pneumonia.boxes.exchange.box_set import BoxSet
from pneumonia.boxes.predictions import Detections, read_detections
from pneumonia.metrics.coco_ap import coco_scores
from pneumonia.metrics.iou_map import Truth, read_truth


def summary_of_pycocotools(folder, truth, detections):
    """AP, AP50, AP75, AR as a user of pycocotools gets them."""
    sizes = np.full((len(truth), 2), 1024)
    boxes = Detections(truth.ids, truth.offsets, truth.boxes, np.zeros(len(truth.boxes)))
    coco.write(folder, BoxSet(truth.ids, sizes, boxes, detections))
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(str(folder / "annotations.json"))
        evaluation = COCOeval(annotations, annotations.loadRes(str(folder / "predictions.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[[0, 1, 2, 8]]


def figures(row):
    return [row[name] for name in ("ap", "ap50", "ap75", "ar")]


def test_figures_are_those_of_pycocotools(tmp_path, competition):
    truth, members, _, _ = competition(60)
    scores = coco_scores(truth, members["a"])
    assert figures(scores["all"]) == pytest.approx(summary_of_pycocotools(tmp_path, truth, members["a"]), abs=1e-12)
    positive = np.flatnonzero(truth.positive)
    expected = summary_of_pycocotools(tmp_path, truth.rows(positive), members["a"].rows(positive))
    assert figures(scores["positive"]) == pytest.approx(expected, abs=1e-12)
    assert scores["positive"]["images"] == truth.positive.sum() < scores["all"]["images"] == 60
    assert 0 < scores["all"]["ap"] < scores["positive"]["ap"] < 1


def test_false_boxes_below_all_true_ones_cost_nothing():
    truth = Truth.from_lists("ab", [np.array([[0, 0, 10, 10]]), np.empty((0, 4))])
    hit, false = np.array([[0.0, 0, 10, 10]]), np.array([[50.0, 50, 10, 10]])
    below = coco_scores(truth, Detections.from_lists("ab", [hit, false], [[0.9], [0.1]]))
    assert figures(below["all"]) == figures(below["positive"]) == pytest.approx([1, 1, 1, 1])
    above = coco_scores(truth, Detections.from_lists("ab", [hit, false], [[0.9], [0.95]]))
    assert above["all"]["ap"] == pytest.approx(0.5) and above["positive"]["ap"] == pytest.approx(1)


def test_nothing_predicted_and_nothing_true():
    no_box = [np.empty((0, 4))] * 2
    nothing = Detections.from_lists("ab", no_box, [np.empty(0)] * 2)
    positive = Truth.from_lists("ab", [np.array([[0, 0, 10, 10]]), np.empty((0, 4))])
    assert figures(coco_scores(positive, nothing)["all"]) == [0, 0, 0, 0]
    assert figures(coco_scores(Truth.from_lists("ab", no_box), nothing)["all"]) == [None] * 4


@pytest.mark.skipif("RSNA_PREDICTIONS" not in os.environ, reason="RSNA_PREDICTIONS names no folder")
def test_real_detectors_on_real_labels(tmp_path):
    file = sorted((Path(os.environ["RSNA_PREDICTIONS"]) / "val750").glob("*.csv"))[0]
    detections = read_detections(file)
    truth = read_truth(Path(os.environ["RSNA_TABLES"]) / "stage_2_train_labels.csv").select(detections.ids)
    scores = coco_scores(truth, detections)
    assert figures(scores["all"]) == pytest.approx(summary_of_pycocotools(tmp_path, truth, detections), abs=1e-12)
    assert 0.1 < scores["all"]["ap50"] < scores["positive"]["ap50"] < 0.9
