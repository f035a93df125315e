"""Other tools' formats: round trips, each to its stated rounding, and what is refused."""

import json

import numpy as np
import pytest

from pneumonia.boxes.exchange import coco, corners, voc, yolo
from pneumonia.boxes.exchange.box_set import BoxSet
from pneumonia.boxes.exchange.reading import content_sha256, parse_predictions, predicted_ids, read_predictions
from pneumonia.boxes.predictions import Detections, write_detections
from pneumonia.system.errors import BadInput

FOLDS = {"a": "0", "b": "1", "7": "1", "NA": "holdout", "none": "removed"}


@pytest.fixture
def boxes():
    """Five images, one of another size, one without a box; ids that a careless reader takes for numbers or nothing."""
    generator = np.random.default_rng(0)
    ids, counts = ("a", "b", "7", "NA", "none"), (2, 1, 3, 0, 1)
    xywh = [np.round(generator.uniform(1, 400, (count, 4)) * 4) / 4 for count in counts]
    predicted = [generator.uniform(1, 400, (count, 4)) for count in counts]
    scores = [generator.uniform(0, 1, count) for count in counts]
    sizes = np.array([[1024, 1024], [1024, 1024], [3001, 2003], [1024, 1024], [1024, 1024]])
    truth = Detections.from_lists(ids, xywh, [np.zeros(count) for count in counts])
    return BoxSet(ids, sizes, truth, Detections.from_lists(ids, predicted, scores), FOLDS)


def assert_same(table, expected, tolerance):
    assert table.ids == expected.ids and (table.offsets == expected.offsets).all()
    assert (table.scores == expected.scores).all()
    assert np.abs(table.boxes - expected.boxes).max() <= tolerance


@pytest.mark.parametrize(
    ("write", "name", "tolerance"),
    [(coco.write, "predictions.json", 0), (yolo.write, "predictions", 1e-8), (corners.write, "predictions.csv", 1e-9)],
)
def test_predictions_come_back(tmp_path, boxes, write, name, tolerance):
    write(tmp_path, boxes)
    assert_same(read_predictions(tmp_path / name), boxes.predictions, tolerance)
    assert predicted_ids(tmp_path / name) == list(boxes.ids)


def test_quarter_pixels_come_back_exactly_from_corners(tmp_path, boxes):
    corners.write(tmp_path, BoxSet(boxes.ids, boxes.sizes, predictions=boxes.truth))
    assert_same(read_predictions(tmp_path / "predictions.csv"), boxes.truth, 0)


def test_the_lists_of_a_fold_table(tmp_path, boxes):
    assert boxes.splits() == {
        "fold0_train": ["b", "7"], "fold0_val": ["a"], "fold1_train": ["a"], "fold1_val": ["b", "7"], "holdout": ["NA"]
    }  # fmt: skip
    report = BoxSet(("a", "b"), boxes.sizes[:2], folds={"a": "train", "b": "val"})
    assert report.splits() == {"train": ["a"], "val": ["b"]}
    yolo.write(tmp_path, boxes)
    assert (tmp_path / "fold0.yaml").read_text() == (
        "train: fold0_train.txt\nval: fold0_val.txt\ntest: holdout.txt\nnames:\n  0: opacity\n"
    )
    assert (tmp_path / "fold0_train.txt").read_text() == "./images/b.png\n./images/7.png\n"
    assert len((tmp_path / "labels" / "7.txt").read_text().splitlines()) == 3
    assert (tmp_path / "labels" / "NA.txt").read_text() == ""


def test_a_fold_of_coco_keeps_the_numbers_of_images(tmp_path, boxes):
    coco.write(tmp_path, boxes)
    everything, fold = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("annotations", "fold0_train"))
    assert [image["id"] for image in fold["images"]] == [2, 3]
    assert [row["image_id"] for row in fold["annotations"]] == [2, 3, 3, 3]
    assert everything["images"][2] == {
        "id": 3, "patientId": "7", "file_name": "7.png", "width": 3001, "height": 2003
    }  # fmt: skip


def test_voc_has_corners_from_zero(tmp_path, boxes):
    voc.write(tmp_path, BoxSet(("a",), boxes.sizes[:1], Detections.from_lists(["a"], [[[1, 2, 30.5, 40]]], [[0]])))
    text = (tmp_path / "Annotations" / "a.xml").read_text()
    assert "<xmin>1</xmin><ymin>2</ymin><xmax>31.5</xmax><ymax>42</ymax>" in text
    assert (tmp_path / "ImageSets" / "Main" / "all.txt").read_text() == "a\n"


def test_results_of_ultralytics_and_of_numbered_images(tmp_path, boxes):
    """ultralytics names images by their files; detectron2 and mmdetection by the numbers of annotations.json."""
    file = tmp_path / "results.json"
    file.write_text(json.dumps([{"image_id": "b", "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}]))
    table = read_predictions(file)
    assert table.ids == ("b",) and table.boxes.tolist() == [[1, 2, 3, 4]]
    coco.write(tmp_path, boxes)
    assert read_predictions(file).counts.tolist() == [0, 1, 0, 0, 0]  # annotations.json lists the other images
    file.write_text("[]")
    assert read_predictions(file).ids == boxes.ids


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "image_id 1 is a number; put the"),
        ('[{"image_id": "a", "category_id": 1, "bbox": [1, 2, 3], "score": 0.5}]', "result 1: it has no bbox of four"),
        ('[{"image_id": "a", "category_id": 1, "bbox": [1, 2, 3, 4]}]', "result 1: it has no bbox of four numbers and"),
        ('[{"image_id": "a", "category_id": 1, "bbox": [1, 2, 0, 4], "score": 1}]', "result 1: width 0 and height 4"),
        ('[{"image_id": "a", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 5}]', "result 1: confidence 5 is out"),
        ('[{"image_id": "a", "category_id": 1}, {"category_id": 2}]', "boxes of the categories 1, 2; keep"),
        ('{"images": []}', "is not a list of results"),
        ("[]", "no results, so that no image is known"),
        ("[\n{", "json:2: is not valid JSON"),
    ],
)  # fmt: skip
def test_bad_results(tmp_path, content, says):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(BadInput, match=r"results\.json") as caught:
        read_predictions(tmp_path / "results.json")
    assert says in str(caught.value) and len(caught.value.faults) == 1


def test_results_of_other_images(tmp_path, boxes):
    coco.write(tmp_path, boxes)
    file = tmp_path / "results.json"
    for number in (9, "z"):
        file.write_text(json.dumps([{"image_id": number, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]))
        with pytest.raises(BadInput, match=f"image_id {number!r} is not in annotations.json"):
            read_predictions(file)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.1 0.1", "'0 0.5 0.5 0.1 0.1' is not a class, a box and a confidence"),
        ("0 0.5 0.5 0.1 nan 0.5", "is not a class, a box"),
        ("0 0.5 0.5 0.1 0 0.5", "width 102.4 and height 0 are not both positive"),
        ("0 0.5 0.5 0.1 0.1 0.5\n1 0.5 0.5 0.1 0.1 0.5", "boxes of the classes 0, 1"),
    ],
)
def test_bad_yolo_text(tmp_path, line, says):
    (tmp_path / "a.txt").write_text(line)
    with pytest.raises(BadInput) as caught:
        read_predictions(tmp_path)
    assert says in str(caught.value)
    if "classes" not in says:
        assert (caught.value.faults[0].file, caught.value.faults[0].row) == (str(tmp_path / "a.txt"), 1)


def test_yolo_text_without_sizes_is_of_the_competition(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("0 0.5 0.25 0.5 0.25 0.75\n")
    assert read_predictions(tmp_path).boxes.tolist() == [[256, 128, 512, 256]]
    assert "1024 x 1024" in capsys.readouterr().err
    with pytest.raises(BadInput, match=r"no ID\.txt files"):
        read_predictions(tmp_path / "..")


def test_a_file_of_an_image_that_is_not_listed(tmp_path, boxes):
    yolo.write(tmp_path, boxes)
    (tmp_path / "predictions" / "z.txt").write_text("")
    with pytest.raises(BadInput, match="z is not in"):
        read_predictions(tmp_path / "predictions")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,1,2,3,4,x", "'1,2,3,4,x' are not five numbers"),
        ("a,5,2,3,4,0.5", "width -2 and height 2"),
        ("a,1,2", "3 cells"),
    ],
)
def test_bad_corners(tmp_path, row, says):
    file = tmp_path / "corners.csv"
    file.write_text(f"patientId,x_min,y_min,x_max,y_max,score\n{row}\n")
    with pytest.raises(BadInput, match=r"corners\.csv:2: ") as caught:
        read_predictions(file)
    assert says in str(caught.value)


def test_rows_of_an_image_need_not_follow_each_other(tmp_path):
    file = tmp_path / "corners.csv"
    file.write_text("patientId,x1,y1,x2,y2,score\na,1,2,3,4,0.5\nb,,,,,\na,5,6,8,9,0.25\n")
    table = read_predictions(file)
    assert table.ids == ("a", "b") and table.boxes.tolist() == [[1, 2, 2, 2], [5, 6, 3, 3]]


def test_a_submission_is_read_as_before(tmp_path, boxes):
    write_detections(tmp_path / "s.csv", boxes.predictions)
    table, lines, faults = parse_predictions(tmp_path / "s.csv")
    assert_same(table, boxes.predictions, 0)
    assert lines == [2, 3, 4, 5, 6] and faults == []
    with pytest.raises(BadInput, match="cannot be read"):
        read_predictions(tmp_path / "missing.csv")


def test_the_hash_of_a_folder_sees_every_file(tmp_path):
    (tmp_path / "a.txt").write_text("")
    before = content_sha256(tmp_path)
    (tmp_path / "b.txt").write_text("")
    with_b = content_sha256(tmp_path)
    (tmp_path / "b.txt").write_text("0 0.5 0.5 0.1 0.1 0.5")
    assert len({before, with_b, content_sha256(tmp_path)}) == 3
    with pytest.raises(BadInput, match="there is no such file"):
        content_sha256(tmp_path / "missing.csv")


def test_an_id_that_is_no_file_name(tmp_path):
    table = Detections.from_lists(["../a"], [np.empty((0, 4))], [np.empty(0)])
    boxes = BoxSet(("../a",), np.array([[1024, 1024]]), predictions=table)
    for write in (yolo.write, voc.write):
        with pytest.raises(BadInput, match="cannot be the name of a file; choose format=coco"):
            write(tmp_path, boxes)
    assert list(tmp_path.iterdir()) == []


def test_ids_with_folders_come_back_from_coco(tmp_path):
    ids = ("s1/IM-0001", "s2/IM-0001", "a.png")
    table = Detections.from_lists(ids, [[[1.0, 2, 3, 4]], [], [[5.0, 6, 7, 8]]], [[0.5], [], [0.25]])
    coco.write(tmp_path, BoxSet(ids, np.full((3, 2), 1024), None, table, {}))
    back = read_predictions(tmp_path / "predictions.json")
    assert back.ids == ids and back.boxes.tolist() == table.boxes.tolist()


def test_an_image_id_of_another_type_is_named(tmp_path):
    result = {"image_id": [1], "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    (tmp_path / "results.json").write_text(json.dumps([result]))
    with pytest.raises(BadInput, match=r"result 1: image_id \[1\] is no number and no text"):
        read_predictions(tmp_path / "results.json")
