"""`export` as a person calls it, and its files as members, submissions and labels of other commands."""

import csv
import json
import os
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from pneumonia import cli, schema
from pneumonia.boxes.predictions import Detections, read_detections, write_detections
from pneumonia.commands.ensemble import apply, fit
from pneumonia.commands.export import box_set, export
from pneumonia.commands.score import score
from pneumonia.metrics.iou_map import read_truth
from pneumonia.system.errors import BadInput

PREDICTIONS = {"coco": "predictions.json", "yolo": "predictions", "csv": "predictions.csv"}


def exported(folder, **settings):
    for name in ("submission", "labels", "folds"):
        if name in settings:
            settings[name] = str(folder / settings[name])
    return export(schema.Export(out=str(folder / "out"), **settings))


def test_members_in_any_form_give_the_same_recipe_and_boxes(prediction_files, tmp_path):
    """The fixture's boxes are random, in no round numbers; the recipe rounds to a quarter of a pixel."""
    folder, results = prediction_files, {}
    for form, name in {"submission": None, **PREDICTIONS}.items():
        members = {member: str(folder / f"{member}.csv") for member in "ab"}
        if name:
            for member in "ab":
                out = folder / form / member
                export(schema.Export(submission=members[member], format=form, out=str(out)))
                members[member] = str(out / name)
        settings = {"members": members, "labels": str(folder / "labels.csv"), "groups": str(folder / "groups.csv")}
        fitted = fit(schema.Ensemble(**settings, trials=2, draws=20, out=str(folder / f"fit-{form}")))
        applied = apply(schema.Apply(recipe=str(fitted["recipe"]), members=members, out=str(folder / "applied.csv")))
        assert applied["submission"].read_bytes() == fitted["submission"].read_bytes()
        results[form] = fitted["submission"].read_bytes()
    assert len(results["submission"].splitlines()) == 81
    assert all(text == results["submission"] for text in results.values())


@pytest.mark.parametrize("form", PREDICTIONS)
def test_the_score_of_every_form(prediction_files, form):
    labels = str(prediction_files / "labels.csv")
    expected = score(schema.Score(submission=str(prediction_files / "a.csv"), labels=labels, draws=50))
    exported(prediction_files, submission="a.csv", format=form)
    file = str(prediction_files / "out" / PREDICTIONS[form])
    result = score(schema.Score(submission=file, labels=labels, draws=50, coco=True))
    assert result["score"] == expected["score"] and result["low"] == expected["low"]
    assert result["coco"]["all"]["images"] == 80 and 0 < result["coco"]["all"]["ap50"] < 1
    json.dumps(result, allow_nan=False)


def test_labels_as_coco_with_folds(prediction_files):
    rows = [f"i{number},p{number // 2},{number // 2 % 5}" for number in range(80)]
    (prediction_files / "folds.csv").write_text("patientId,group,fold\n" + "\n".join(rows) + "\n")
    result = exported(prediction_files, labels="labels.csv", folds="folds.csv", format="coco")
    assert result["files"] == [
        "annotations.json",
        *(f"fold{k}_{part}.json" for k in range(5) for part in ("train", "val")),
    ]
    truth = read_truth(prediction_files / "labels.csv")
    dataset = COCO(str(prediction_files / "out" / "annotations.json"))
    names = {number: image["file_name"] for number, image in dataset.imgs.items()}
    assert [names[number] for number in sorted(names)] == [f"{image}.png" for image in truth.ids]
    boxes = np.array([annotation["bbox"] for annotation in dataset.anns.values()])
    assert (boxes == truth.boxes).all()
    assert len(COCO(str(prediction_files / "out" / "fold3_val.json")).imgs) == 16


def test_the_demo_as_a_yolo_data_set_with_its_images(tmp_path):
    result = export(schema.Export(data="demo", preset="smoke", format="yolo", images=True, out=str(tmp_path / "yolo")))
    settings = yaml.safe_load((tmp_path / "yolo" / "dataset.yaml").read_text())
    assert settings == {"train": "all.txt", "val": "all.txt", "names": {0: "opacity"}}
    pictures = (tmp_path / "yolo" / settings["train"]).read_text().split()
    assert len(pictures) == result["images"] == len([*(tmp_path / "yolo" / "images").iterdir()])
    for picture in pictures:
        image = (tmp_path / "yolo" / picture).read_bytes()
        assert image.startswith(b"\x89PNG") and image[16:24] == (1024).to_bytes(4, "big") * 2
        assert (tmp_path / "yolo" / picture.replace("images", "labels")).with_suffix(".txt").exists()


def test_voc_of_predictions_with_their_true_boxes(prediction_files):
    exported(prediction_files, submission="a.csv", labels="labels.csv", format="voc")
    out, truth = prediction_files / "out", read_truth(prediction_files / "labels.csv")
    for row, image in enumerate(truth.ids):
        tree = xml.etree.ElementTree.parse(out / "Annotations" / f"{image}.xml")
        found = [[float(value.text) for value in box] for box in tree.iter("bndbox")]
        expected = truth.boxes[truth.offsets[row] : truth.offsets[row + 1]]
        assert np.allclose(found, np.concatenate([expected[:, :2], expected[:, :2] + expected[:, 2:]], axis=1).tolist())
    table = read_detections(prediction_files / "a.csv")
    lines = (out / "results" / "Main" / "comp4_det_test_opacity.txt").read_text().splitlines()
    assert len(lines) == len(table.scores)
    assert lines[0].split()[:2] == [table.ids[table.image_of_box[0]], repr(float(table.scores[0]))]


def test_what_is_refused(prediction_files, capsys):
    folder = prediction_files
    (folder / "few.csv").write_text("patientId,x,y,width,height,Target\ni1,,,,,0\n")
    with pytest.raises(BadInput, match=r"79 predicted images have no label in few\.csv, the first is i0"):
        exported(folder, submission="a.csv", labels="few.csv")
    with pytest.raises(BadInput, match="images=true needs the radiographs"):
        exported(folder, submission="a.csv", images=True)
    assert not (folder / "out").exists()
    exported(folder, submission="a.csv")
    before = (folder / "out" / "predictions.json").read_bytes()
    with pytest.raises(BadInput, match="exists and is not an empty folder"):
        exported(folder, submission="b.csv")
    assert (folder / "out" / "predictions.json").read_bytes() == before
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
    assert cli.main(["export", "submission=nobody"]) == 2
    assert "there is no submission 'nobody'" in capsys.readouterr().err
    assert cli.main(["export", "format=pascal"]) == 2


@pytest.mark.skipif("RSNA_TABLES" not in os.environ, reason="RSNA_TABLES names no folder")
def test_the_real_label_table_comes_back_exactly(tmp_path):
    labels = Path(os.environ["RSNA_TABLES"]) / "stage_2_train_labels.csv"
    export(schema.Export(labels=str(labels), format="csv", out=str(tmp_path / "csv")))
    truth = read_truth(labels)
    with open(tmp_path / "csv" / "boxes.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == 30227 and len({row[0] for row in rows}) == len(truth) == 26684
    corners = np.array([row[1:] for row in rows if row[1]], dtype=float)
    assert (np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1) == truth.boxes).all()


def test_boxes_beyond_the_size_that_images_are_taken_to_have(tmp_path):
    table = Detections.from_lists(["a"], [[[1800.0, 1700, 200, 220]]], [[0.9]])
    write_detections(tmp_path / "a.csv", table)
    with pytest.raises(BadInput, match=r"a\.csv: its boxes reach 2000, 1920, and without data= images are 1024 x 1024"):
        box_set(tmp_path / "a.csv", None, None, "")
