"""How hard a negative is: an earlier experiment's confidence in it, read from its runs on the other folds."""

import json

import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes.predictions import ClassProbabilities, Detections, write_classes, write_detections
from pneumonia.runs.run import Run
from pneumonia.system.errors import BadInput
from pneumonia.training.other_runs import hardness

IDS = ["a", "b", "c", "d"]
BOX = [10.0, 20.0, 30.0, 40.0]


def hardness_of(folder, share=0.5):
    """Of the run on fold 0, for IDS."""
    return hardness(Run(folder / "mine/fold0"), schema.Sampling(0.5, hard_negatives=share, hard_from="earlier"), IDS)


def finished(folder, kind, table) -> None:
    """A run folder of `kind` with the out-of-fold predictions `table`."""
    run = Run(folder)
    run.folder.mkdir(parents=True)
    (write_detections if kind == "localizer" else write_classes)(run.table("oof", kind), table)
    (run.folder / "done.json").write_text(json.dumps({"kind": kind}))


def detections(scores: dict[str, list[float]]) -> Detections:
    boxes = [np.tile(BOX, (len(each), 1)) for each in scores.values()]
    return Detections.from_lists(list(scores), boxes, [np.array(each) for each in scores.values()])


def test_a_localizer_s_surest_box_says_how_hard_an_image_is(tmp_path):
    """Without a box it is not hard at all. The run on the fold itself is not read: its images are held out here."""
    finished(tmp_path / "earlier/fold1", "localizer", detections({"d": [0.2, 0.75, 0.4], "b": []}))
    finished(tmp_path / "earlier/fold2", "localizer", detections({"a": [0.5], "c": [0.1], "x": [1.0]}))
    finished(tmp_path / "earlier/fold0", "localizer", detections({name: [1.0] for name in IDS}))
    assert hardness_of(tmp_path).tolist() == pytest.approx([0.5, 0.0, 0.1, 0.75])


def test_a_classifier_s_probability_of_opacity_says_it(tmp_path):
    opacity = np.array([0.3, 0.9, 0.1, 0.6])
    finished(tmp_path / "earlier/fold1", "classifier", ClassProbabilities(("b", "a", "d", "c"), opacity=opacity))
    assert hardness_of(tmp_path).tolist() == pytest.approx([0.9, 0.3, 0.6, 0.1])


def test_images_that_no_other_fold_predicted_are_refused(tmp_path):
    finished(tmp_path / "earlier/fold1", "localizer", detections({"a": [0.5], "b": []}))
    Run(tmp_path / "earlier/fold2").folder.mkdir()  # not finished
    with pytest.raises(BadInput, match="lack 2 of the training images; train it with fold=all first"):
        hardness_of(tmp_path)


def test_without_a_share_of_hard_negatives_nothing_is_read(tmp_path):
    assert hardness_of(tmp_path, share=0.0) is None
