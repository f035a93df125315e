"""`score` as a person calls it: what counts, what is left out, what is refused."""

import json

import pytest

from pneumonia import schema
from pneumonia.commands.score import score as command
from pneumonia.data.people import read_people
from pneumonia.system.errors import BadInput


@pytest.fixture
def labels(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("patientId,x,y,width,height,Target\na,0,0,100,10,1\nb,,,,,0\nNA,,,,,0\n")
    return file


def scored(tmp_path, labels, rows, **settings):
    file = tmp_path / "submission.csv"
    file.write_text("patientId,PredictionString\n" + rows)
    return command(schema.Score(submission=str(file), labels=str(labels), **settings))


def test_the_images_that_are_listed_are_scored(tmp_path, labels, capsys):
    result = scored(tmp_path, labels, "b,\na,0.5 0 0 50 10\n")
    assert (result["score"], result["images_scored"], result["images_listed"]) == (2 / 8, 1, 2)
    assert result["left_out"] == {"count": 1, "first": "NA"}
    assert "first: NA" in capsys.readouterr().out
    json.dumps(result, allow_nan=False)


def test_no_image_that_counts_is_no_number(tmp_path, labels):
    result = scored(tmp_path, labels, "b,\nNA,\n")
    assert result["score"] is None and result["low"] is None and result["images_scored"] == 0


def test_complete_refuses_what_is_left_out(tmp_path, labels):
    with pytest.raises(BadInput, match="1 labelled images are left out, the first is NA"):
        scored(tmp_path, labels, "b,\na,\n", complete=True)


@pytest.mark.parametrize(
    ("rows", "word"),
    [("x,\n", "no label"), ("a,0.5 0 0 nan 10\n", "'nan'"), ("a,1 2\n", "2 numbers, not five")],
)
def test_a_broken_file_has_no_score(tmp_path, labels, rows, word):
    with pytest.raises(BadInput, match=word) as caught:
        scored(tmp_path, labels, rows)
    assert caught.value.faults[0].row == 2


def test_groups_from_a_table_and_from_the_official_mapping(tmp_path):
    table = tmp_path / "mapping.csv"
    table.write_text("patientId,nih_image,nih_patient\na,00000007_001.png,7\nb,00000007_002.png,7\n")
    assert read_people(table) == {"a": "7", "b": "7"}
    official = tmp_path / "mapping.json"
    official.write_text(json.dumps([{"subset_img_id": "a", "img_id": "00000007_001.png", "orig_labels": ["Mass"]}]))
    assert read_people(official) == {"a": "7"}  # as the CSV names the person
    table.write_text("patientId,fold\na,1\n")
    with pytest.raises(BadInput, match="nih_patient"):
        read_people(table)


def test_people_widen_the_interval(tmp_path, labels):
    mapping = tmp_path / "mapping.csv"
    mapping.write_text("patientId,group\na,p\nb,p\n")
    one_person = scored(tmp_path, labels, "a,0.5 0 0 50 10\nb,0.5 0 0 9 9\n", groups=str(mapping))
    assert one_person["low"] == one_person["high"] == one_person["score"]
    apart = scored(tmp_path, labels, "a,0.5 0 0 50 10\nb,0.5 0 0 9 9\n")
    assert apart["low"] < apart["high"]


def test_coco_says_which_images(tmp_path, labels, capsys):
    result = scored(tmp_path, labels, "b,0.9 50 50 10 10\na,0.5 0 0 100 10\n", coco=True)
    assert [row["images"] for row in result["coco"].values()] == [2, 1]
    assert [round(row["ap"], 9) for row in result["coco"].values()] == [0.5, 1]
    text = capsys.readouterr().out
    assert "COCO, all 2 images: AP 0.5000" in text and "COCO, 1 images with a true box: AP 1.0000" in text
