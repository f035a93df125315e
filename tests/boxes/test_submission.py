"""Submissions: written as the sample demands, every fault named."""

import pytest

from pneumonia import schema
from pneumonia.boxes.predictions import Detections, read_detections
from pneumonia.boxes.submission import read_sample, validate, write_submission
from pneumonia.commands.validate import validate as command
from pneumonia.system.errors import BadInput

HEADER = "patientId,PredictionString\n"


@pytest.fixture
def sample(tmp_path):
    file = tmp_path / "sample.csv"
    file.write_text(HEADER + "b,0.5 0 0 100 100\na,0.5 0 0 100 100\nNA,0.5 0 0 100 100\n")
    return file


def faults_of(tmp_path, text, sample=None):
    file = tmp_path / "submission.csv"
    file.write_text(text)
    return [(fault.code, fault.row) for fault in validate(file, sample)]


def test_what_is_written_is_valid(tmp_path, sample):
    boxes = [[(0, 0, 1024, 1024)], [], [(1, 2, 3, 4), (5, 6, 7, 8)], [(1, 1, 1, 1)]]
    detections = Detections.from_lists(["a", "NA", "b", "not asked for"], boxes, [[1.0], [], [0.0, 0.3], [0.5]])
    write_submission(tmp_path / "s.csv", detections, read_sample(sample))
    assert validate(tmp_path / "s.csv", sample) == []
    assert read_detections(tmp_path / "s.csv").ids == ("b", "a", "NA")


def test_an_image_of_the_sample_that_is_not_predicted_is_an_error(sample):
    with pytest.raises(BadInput, match=r"sample.csv:2: 2 of its 3 images are not predicted, the first is b; give"):
        read_sample(sample, ("a",))
    assert read_sample(sample, ("a", "b", "NA", "c")) == ("b", "a", "NA")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("a,0.5 -1 0 10 10", "frame"),
        ("a,0.5 0 0 1025 10", "frame"),
        ("a,0.5 1000 1000 10 24.5", "frame"),
        ("a,0.5 0 0 0 10", "size"),
        ("a,1.1 0 0 10 10", "confidence"),
        ("a,0.5 0 0 10", "five-numbers"),
        ("a,0.5 0 0 nan 10", "not-a-number"),
        ("a", "cells"),
        ("b,", "duplicate-id"),
    ],
)
def test_a_fault_has_its_row(tmp_path, row, code):
    assert faults_of(tmp_path, f"{HEADER}b,0.5 0 0 100 100\n{row}\nNA,\n") == [(code, 3)]


def test_ids_are_compared_with_the_sample(tmp_path, sample):
    assert faults_of(tmp_path, HEADER + "b,\na,\nNA,\n", sample) == []
    assert faults_of(tmp_path, HEADER + "a,\nb,\nNA,\n", sample) == [("order", 2)]
    assert faults_of(tmp_path, HEADER + "b,\na,\n", sample) == [("missing-id", None)]
    assert faults_of(tmp_path, HEADER + "b,\na,\nNA,\nx,\n", sample) == [("unknown-id", 5)]


def test_the_command_lists_every_fault(tmp_path, sample, capsys):
    file = tmp_path / "s.csv"
    file.write_text(HEADER + "b,x\na,0.5 0 0 2000 1\n")
    result = command(schema.Validate(submission=str(file), sample=str(sample)))
    assert not result["valid"]
    assert {fault["code"] for fault in result["faults"]} == {"not-a-number", "frame", "missing-id"}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith(f"error: {file}") for line in lines)


def test_a_missing_setting_is_one_clear_line():
    with pytest.raises(BadInput, match="submission= is missing"):
        command(schema.Validate())
