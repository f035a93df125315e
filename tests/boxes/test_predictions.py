"""The prediction tables: what is read, what is written, and what is refused by row."""

import numpy as np
import pytest

from pneumonia.boxes.predictions import (
    ClassProbabilities,
    Detections,
    read_classes,
    read_detections,
    write_classes,
    write_detections,
)
from pneumonia.system.errors import BadInput

HEADER = "patientId,PredictionString\n"


def written(tmp_path, text, **how):
    file = tmp_path / "table.csv"
    file.write_bytes(text.encode(**how) if isinstance(text, str) else text)
    return file


def some() -> Detections:
    boxes = [[(1, 2, 3, 4), (5, 6, 7, 8.25)], [], [(9, 9, 9, 9)]]
    return Detections.from_lists(["NA", "1e5", "a b"], boxes, [[0.25, 0.75], [], [1 / 3]])


def test_a_table_comes_back_bit_for_bit(tmp_path):
    write_detections(tmp_path / "d.csv", some())
    again = read_detections(tmp_path / "d.csv")
    assert again.ids == ("NA", "1e5", "a b")
    assert np.array_equal(again.boxes, some().boxes) and np.array_equal(again.scores, some().scores)
    assert again.offsets.tolist() == [0, 2, 2, 3]


def test_the_written_text_is_the_submission_format(tmp_path):
    write_detections(tmp_path / "d.csv", some().rows(np.array([0, 1])))
    expected = HEADER + "NA,0.25 1.0 2.0 3.0 4.0 0.75 5.0 6.0 7.0 8.25\n1e5,\n"
    assert (tmp_path / "d.csv").read_bytes() == expected.encode()


def test_windows_line_ends_quotes_and_closing_blank_lines_are_read(tmp_path):
    file = written(tmp_path, 'patientId,PredictionString\r\n"a,1","0.5 0 0 100 100"\r\nb,\r\n\r\n')
    assert read_detections(file).ids == ("a,1", "b")


def test_an_image_may_have_a_hundred_thousand_boxes(tmp_path):
    file = written(tmp_path, HEADER + "a," + "0.5 0 0 100 100 " * 100_000 + "\n")
    assert len(read_detections(file).scores) == 100_000


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("a,0.5 1 2 3", "not five per box"),
        ("a,0.5 1 2 3 nan", "'nan'"),
        ("a,0.5 1 2 3 inf", "'inf'"),
        ("a,0.5 1 2 3 1_0", "'1_0'"),
        ("a,0.5 1 2 3 four", "'four'"),
        ("a,0.5 1 2 3 1e999", "too large"),
        ("a,1.5 1 2 3 4", "outside [0, 1]"),
        ("a,1.0000001 1 2 3 4", "confidence 1.0000001 is outside [0, 1]"),
        ("a,0.5 1 2 3 -1e-9", "height -1e-09"),
        ('a,"0.5 1 2 3 4', "a quote is opened and not closed"),
        ('a,"0.5 1 2 3 4"5', "a quote is opened and not closed"),
        ("a,-0.5 1 2 3 4", "outside [0, 1]"),
        ("a,0.5 1 2 0 4", "not both positive"),
        ("a,0.5 1 2 3 -4", "not both positive"),
        ("good,", "already in row 2"),
        (",0.5 1 2 3 4", "patientId is empty"),
        ("a", "1 cells"),
        ("a,0.5 1 2 3 4,", "3 cells"),
        ("", "0 cells"),
    ],
)
def test_a_bad_row_is_named_with_its_fix(tmp_path, row, word):
    file = written(tmp_path, f"{HEADER}good,0.5 1 2 3 4\n{row}\nlast,\n")
    with pytest.raises(BadInput) as caught:
        read_detections(file)
    (fault,) = caught.value.faults
    assert fault.row == 3 and word in fault.what and fault.fix


def test_every_bad_row_is_named(tmp_path):
    file = written(tmp_path, HEADER + "a,x\nb,\nc,0.5 1 2 3 -4\n")
    with pytest.raises(BadInput) as caught:
        read_detections(file)
    assert [fault.row for fault in caught.value.faults] == [2, 4]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"patientId,PredictionString\n", "no rows"),
        (b"patientId,predictionString\n", "header"),
        (b",patientId,PredictionString\n0,a,\n", "is an index"),
        (b"patientId;PredictionString\na;\n", "semicolons"),
        ("patientId,PredictionString\na,\n".encode("utf-16"), "UTF-16"),
        (b"patientId,PredictionString\n\xff,\n", "UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, word):
    with pytest.raises(BadInput, match=word):
        read_detections(written(tmp_path, content))


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_detections(tmp_path / "none.csv")


def test_classes_come_back(tmp_path):
    three = ClassProbabilities(("NA", "b"), np.array([0.1, 1 / 3]), np.array([0.5, 0.3]), np.array([0.4, 0.2]))
    write_classes(tmp_path / "c.csv", three)
    again = read_classes(tmp_path / "c.csv")
    assert again.ids == three.ids and all(map(np.array_equal, again.columns(), three.columns()))
    write_classes(tmp_path / "b.csv", ClassProbabilities(("a",), np.array([0.5])))
    assert (tmp_path / "b.csv").read_text() == "patientId,opacity\na,0.5\n"
    assert read_classes(tmp_path / "b.csv").normal is None


def test_no_value_is_no_box(tmp_path):
    assert read_detections(written(tmp_path, HEADER + "a,nan\nb,NaN\nc,\n")).counts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("cell", ["1.5", "1.0000001", "nan", "", "-0.1", "x"])
def test_a_bad_probability_is_named(tmp_path, cell):
    with pytest.raises(BadInput) as caught:
        read_classes(written(tmp_path, f"patientId,opacity\na,0.5\nb,{cell}\n"))
    (fault,) = caught.value.faults
    assert fault.row == 3 and f"'{cell}'" in fault.what


def test_selecting_and_keeping():
    picked = some().select(["a b", "NA"])
    assert picked.ids == ("a b", "NA") and picked.counts.tolist() == [1, 2]
    assert picked.image(1)[0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8.25]]
    kept = some().keep(some().scores > 0.3)
    assert kept.counts.tolist() == [1, 0, 1] and kept.scores.tolist() == [0.75, 1 / 3]
    assert some().by_confidence().image(0)[1].tolist() == [0.75, 0.25]
    with pytest.raises(KeyError):
        some().select(["nobody"])
