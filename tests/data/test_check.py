"""`check` names every fault of the tables with its file, row and fix; each fault here has its own small files."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumonia import cli
from pneumonia.config import REPOSITORY
from pneumonia.data import check, check_tables
from pneumonia.data.competition import open_competition
from pneumonia.data.study_table import study_table
from pneumonia.system.errors import BadInput

LABELS, CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
SAMPLE = "stage_2_sample_submission.csv"
A, B, C = (f"{letter * 8}-{letter * 4}-4{letter * 3}-8{letter * 3}-{letter * 12}" for letter in "abc")

HEADER = "patientId,x,y,width,height,Target"
LABEL_LINES = [HEADER, f"{A},264.0,152.0,213.0,379.0,1", f"{A},562.0,152.0,256.0,453.0,1", f"{B},,,,,0"]
CLASS_LINES = ["patientId,class", f"{A},Lung Opacity", f"{A},Lung Opacity", f"{B},No Lung Opacity / Not Normal"]
SAMPLE_LINES = ["patientId,PredictionString", f"{C},0.5 0 0 100 100"]
SOUND = {LABELS: LABEL_LINES, CLASSES: CLASS_LINES, SAMPLE: SAMPLE_LINES}


def write(folder: Path, **changed) -> Path:
    """The sound tables with some replaced: labels=, classes=, sample= as lines, text, bytes, or None for no file."""
    names = {"labels": LABELS, "classes": CLASSES, "sample": SAMPLE}
    folder.mkdir()
    for name, content in (SOUND | {names[key]: value for key, value in changed.items()}).items():
        if isinstance(content, list):
            content = "\n".join(content) + "\n"
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def with_line(lines: list[str], number: int, text: str) -> list[str]:
    """The lines with line `number` (the header is 1) replaced, or appended where there is none yet."""
    return [*lines[: number - 1], text, *lines[number:]]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checked(capsys, folder: Path, *words: str) -> list[dict]:
    """The faults of `check`, whose exit code must fit them and which must write nothing."""
    before = files_of(folder)
    code = cli.main(["check", f"data={folder}", "json=true", *words])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == (2 if result["faults"] else 0)
    assert files_of(folder) == before
    return result["faults"]


def places(faults: list[dict]) -> list[tuple[str, str, int | None]]:
    return [(fault["code"], Path(fault["file"]).name, fault["row"]) for fault in faults]


def test_sound_tables_have_no_faults(tmp_path, capsys):
    assert checked(capsys, write(tmp_path / "sound")) == []


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (f"{A.upper()},,,,,0", "id"),
        (f"../{A},,,,,0", "id"),
        (f"{A}.dcm,,,,,0", "id"),
        (f"{A}\0,,,,,0", "id"),
        ("=1+1,,,,,0", "id"),
        ("1e5,,,,,0", "id"),
        ("NA,,,,,0", "id"),
        ("/etc/passwd,,,,,0", "id"),
        (",,,,,0", "no-id"),
        (f"{B},,,,,2", "target"),
        (f"{B},,,,,", "target"),
        (f"{B},,,,,1.5", "target"),
        (f"{B},,,,,1_0", "target"),
        (f"{B},nan,nan,NaN,,1", "target-without-box"),
        (f"{B},nan,2,,,0", "box-without-target"),
        (f"{B},,,,,nan", "target"),
        (f"{B},,,,,1", "target-without-box"),
        (f"{B},1,2,3,,1", "target-without-box"),
        (f"{B},1,2,3,4,0", "box-without-target"),
        (f"{B},nan,2,3,4,1", "not-finite"),
        (f"{B},1,NaN,3,4,1", "not-finite"),
        (f"{B},1,2,inf,4,1", "not-finite"),
        (f"{B},1,2,-Infinity,4,1", "not-finite"),
        (f"{B},1,2,3,1e999,1", "not-finite"),
        (f"{B},1,two,3,4,1", "not-a-number"),
        (f"{B},1_0,2,3,4,1", "not-a-number"),
        (f"{B},١,2,3,4,1", "not-a-number"),
        (f"{B},1,2,0,4,1", "size"),
        (f"{B},1,2,3,0.0,1", "size"),
        (f"{B},1,2,-3,4,1", "size"),
        (f"{B},,,,,0,", "cells"),
        (f"{B},,,,0", "cells"),
        ("", "cells"),
        (f'"{B},,,,,0', "open-quote"),
    ],
)
def test_fault_of_one_row(tmp_path, capsys, cells, code):
    labels = [HEADER, *LABEL_LINES[1:3], cells, f"{B},,,,,0"]
    faults = checked(capsys, write(tmp_path / "data", labels=labels))
    assert places(faults) == [(code, LABELS, 4)]
    assert faults[0]["what"] and faults[0]["fix"]
    assert "\0" not in faults[0]["what"]


@pytest.mark.parametrize(
    ("content", "code", "row"),
    [
        (None, "missing", None),
        ("", "empty", None),
        ("\n\n", "empty", None),
        (HEADER + "\n", "header-only", None),
        (["patientId,x,y,width,height,Label", *LABEL_LINES[1:]], "columns", 1),
        (["patientId,x,y,width,height", f"{A},1,2,3,4"], "columns", 1),
        (["patientId,y,x,width,height,Target", *LABEL_LINES[1:]], "columns", 1),
        ([HEADER + ",more", f"{B},,,,,0,1"], "columns", 1),
        (["patientId,x,x,width,height,Target", *LABEL_LINES[1:]], "repeated-column", 1),
        ("\n".join(LABEL_LINES).encode("utf-16"), "encoding", 1),
        (("\n".join(LABEL_LINES) + "\nä").encode("latin-1"), "encoding", 5),
        ("\n".join(LABEL_LINES).encode("utf-16-le"), "encoding", 1),
        ("\n".join(LABEL_LINES).replace(",", ";"), "separator", 1),
        ("\n".join(LABEL_LINES).replace(",", "\t"), "separator", 1),
        ("sep=;\n" + "\n".join(LABEL_LINES).replace(",", ";"), "separator", 1),
        (["," + HEADER, *(f"{row},{line}" for row, line in enumerate(LABEL_LINES[1:]))], "index-column", 1),
        ([HEADER, *(f"{row},{line}" for row, line in enumerate(LABEL_LINES[1:], 1))], "index-column", 2),
        ([LABEL_LINES[0].upper(), *LABEL_LINES[1:]], "columns", 1),
        ("\n".join(LABEL_LINES).replace(A, A.upper()).replace(B, B.upper()), "id", 2),
        ("\n".join(LABEL_LINES).replace(A, A + ".dcm").replace(B, B + ".dcm"), "id", 2),
        (b"PK\x03\x04\xff\xfe\n", "encoding", 1),
    ],
)
def test_fault_of_a_whole_table(tmp_path, capsys, content, code, row):
    faults = checked(capsys, write(tmp_path / "data", labels=content))
    assert places(faults) == [(code, LABELS, row)]


@pytest.mark.parametrize("name", ["labels", "classes", "sample"])
def test_every_table_must_be_there(tmp_path, capsys, name):
    faults = checked(capsys, write(tmp_path / "data", **{name: None}))
    assert [fault["code"] for fault in faults] == ["missing"]


def test_all_tables_missing_is_said_at_once(tmp_path, capsys):
    faults = checked(capsys, write(tmp_path / "data", labels=None, classes=None, sample=None))
    assert places(faults) == [("missing", LABELS, None), ("missing", CLASSES, None), ("missing", SAMPLE, None)]


@pytest.mark.parametrize(
    ("row", "is_outside"),
    [
        ("-1,2,30,40", False),
        ("1,-0.5,30,40", False),
        ("1000,2,25,40", False),
        ("1,1000,30,25", False),
        ("1024,2,30,40", True),
        ("1,-50,30,40", True),
    ],
)
def test_box_outside_the_image(tmp_path, capsys, row, is_outside):
    folder = write(tmp_path / "data", labels=with_line(LABEL_LINES, 3, f"{A},{row},1"))
    assert places(checked(capsys, folder)) == [("box-outside", LABELS, 3)]
    corrected = checked(capsys, folder, "clip_boxes=true")
    assert places(corrected) == ([("box-outside", LABELS, 3)] if is_outside else [])


def test_box_at_the_frame_is_no_fault(tmp_path, capsys):
    labels = with_line(LABEL_LINES, 3, f"{A},0,0,1024,1024,1")
    assert checked(capsys, write(tmp_path / "data", labels=labels)) == []


@pytest.mark.parametrize(
    ("line", "places_of_faults"),
    [
        (f"{A},264,152.0,213,379,1", [("repeat", LABELS, 5)]),
        (f"{B},,,,,0", [("repeat", LABELS, 5)]),
        (f"{B},1,2,3,4,1", [("target-contradiction", LABELS, 5), ("class-target", CLASSES, 4)]),
    ],
)
def test_repeats_and_contradictions_of_labels(tmp_path, capsys, line, places_of_faults):
    assert places(checked(capsys, write(tmp_path / "data", labels=[*LABEL_LINES, line]))) == places_of_faults


@pytest.mark.parametrize(
    ("number", "line", "places_of_faults"),
    [
        (5, f"{B},Normal", [("class-contradiction", CLASSES, 5)]),
        (4, f"{B},Lung Opacity", [("class-target", CLASSES, 4)]),
        (4, f"{B},normal", [("class-name", CLASSES, 4)]),
        (4, f"{B},", [("class-name", CLASSES, 4)]),
        (5, "1e5,Normal", [("id", CLASSES, 5)]),
        (5, f"{C},Normal", [("no-label", CLASSES, 5)]),
        (4, f"{A},Lung Opacity", [("no-class", LABELS, 4)]),
    ],
)
def test_fault_of_the_class_table(tmp_path, capsys, number, line, places_of_faults):
    faults = checked(capsys, write(tmp_path / "data", classes=with_line(CLASS_LINES, number, line)))
    assert places(faults) == places_of_faults


@pytest.mark.parametrize(
    ("number", "line", "code"),
    [(3, f"{C},0.5 0 0 100 100", "repeat"), (2, f"{C.upper()},", "id"), (1, "patientId,boxes", "columns")],
)
def test_fault_of_the_sample(tmp_path, capsys, number, line, code):
    faults = checked(capsys, write(tmp_path / "data", sample=with_line(SAMPLE_LINES, number, line)))
    assert places(faults) == [(code, SAMPLE, number)]


def test_every_fault_at_once_file_by_file(tmp_path, capsys):
    labels = [*LABEL_LINES, f"{C},,,,,7", "x,,,,,0", f"{C},0,0,5000,1,1"]
    classes = [*CLASS_LINES, f"{C},Lung Opacity", f"{C},Normal"]
    faults = checked(capsys, write(tmp_path / "data", labels=labels, classes=classes, sample=None))
    assert places(faults) == [
        ("target", LABELS, 5),
        ("id", LABELS, 6),
        ("box-outside", LABELS, 7),
        ("class-contradiction", CLASSES, 6),
        ("missing", SAMPLE, None),
    ]


def test_a_person_sees_twenty_of_a_kind_and_json_all(tmp_path, capsys):
    folder = write(tmp_path / "data", labels=[*LABEL_LINES, *(f"{B},,,,,{number}" for number in range(2, 52))])
    assert cli.main(["check", f"data={folder}"]) == 2
    out = capsys.readouterr().out
    assert out.count("Target is") == 20
    assert "30 more of this kind" in out
    assert "50 faults" in out
    assert len(checked(capsys, folder)) == 50
    with pytest.raises(BadInput) as caught:
        check.refuse_faults(open_competition(folder), needs_images=False)
    assert len(caught.value.faults) == 50
    assert str(caught.value).count("\n") == 20


@pytest.mark.parametrize(
    ("text", "code", "row"),
    [
        (None, "mapping", None),
        (f"patientId,nih_patient\n{A},1\n{A},2\n", "mapping-contradiction", 3),
        (f"patientId,somebody\n{A},1\n", "columns", 1),
        (f"patientId,nih_patient\n{C},1\n", "mapping", None),
    ],
)
def test_fault_of_the_mapping_comes_with_the_others(tmp_path, capsys, text, code, row):
    folder = write(tmp_path / "data", labels=[*LABEL_LINES, f"{B},,,,,2"])
    people = tmp_path / "people.csv"
    if text is not None:
        people.write_text(text)
    faults = checked(capsys, folder, f"mapping={people}")
    assert places(faults) == [("target", LABELS, 5), (code, "people.csv", row)]


def test_warnings_are_no_faults(tmp_path, capsys):
    people = tmp_path / "people.csv"
    people.write_text(f"patientId,nih_patient\n{A},1\n")
    folder = write(tmp_path / "data")
    for words, code in (([], "no-mapping"), ([f"mapping={people}", "allow_unmapped=true"], "mapping-lacks")):
        assert cli.main(["check", f"data={folder}", "json=true", *words]) == 0
        out = capsys.readouterr().out
        assert [each["code"] for each in json.loads(out.splitlines()[-1])["warnings"]] == ["no-images", code]
        assert out.count("warning: ") == 2 and "error: " not in out


def test_no_such_folder(tmp_path, capsys):
    assert places(checked(capsys, tmp_path / "nowhere")) == [("bad-input", "nowhere", None)]


def test_one_bad_id_is_one_fault(tmp_path, capsys):
    """The image is meant, so that it is not a second time an image without a label or without a class."""
    folder = write(tmp_path / "data", labels=with_line(LABEL_LINES, 4, f"{B.upper()},,,,,0"))
    (fault,) = checked(capsys, folder)
    assert (fault["code"], fault["fix"]) == ("id", f"write {B}")


def test_every_fault_of_a_row(tmp_path, capsys):
    faults = checked(capsys, write(tmp_path / "data", labels=[*LABEL_LINES, "1e5,nan,two,-3,,1"]))
    codes = ["id", "target-without-box", "not-finite", "not-a-number", "size"]
    assert places(faults) == [(code, LABELS, 5) for code in codes]


SPELLINGS = {  # of the same table, as common tools write it
    "byte order mark": lambda lines: "\ufeff" + "\n".join(lines),
    "CRLF": lambda lines: "\r\n".join(lines) + "\r\n",
    "CR": lambda lines: "\r".join(lines) + "\r",
    "quoted": lambda lines: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines),
    "quoted header": lambda lines: "\n".join(['"' + lines[0].replace(",", '","') + '"', *lines[1:]]),
    "spaces": lambda lines: "\n".join(" " + line.replace(",", " , ") + " \t" for line in lines),
    "spaces and quotes": lambda lines: "\n".join(' "' + line.replace(",", ' ", "') + '"' for line in lines),
    "empty rows at the end": lambda lines: "\n".join([*lines, "," * lines[0].count(","), "", '""', ""]),
    "Target 1.0": lambda lines: "\n".join(re.sub(r",([01])$", r",\1.0", line) for line in lines),
    "nan": lambda lines: "\n".join(line.replace(",,,,,", ",nan,NaN,NA,,") for line in lines),
    "gzip": lambda lines: gzip.compress("\n".join(lines).encode()),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_tables_that_mean_the_same_are_read(tmp_path, capsys, spelling):
    tables = {"labels": LABEL_LINES, "classes": CLASS_LINES, "sample": SAMPLE_LINES}
    folder = write(tmp_path / "data", **{name: SPELLINGS[spelling](lines) for name, lines in tables.items()})
    (folder / "mapping.csv").write_bytes(as_bytes(SPELLINGS[spelling](["patientId,nih_patient", f"{A},7", f"{B},8"])))
    assert checked(capsys, folder) == []
    read, sound = (study_table(open_competition(each)) for each in (folder, write(tmp_path / "sound")))
    assert read["group"].tolist() == ["7", "8"]
    pd.testing.assert_frame_equal(read.drop(columns=["group", "boxes"]), sound.drop(columns=["group", "boxes"]))
    assert [boxes.tolist() for boxes in read["boxes"]] == [boxes.tolist() for boxes in sound["boxes"]]


def as_bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


def test_a_cell_may_be_of_any_length(tmp_path, capsys):
    folder = write(tmp_path / "data", labels=[*LABEL_LINES, f'"{B * 5000}",,,,,0'])
    assert [fault["code"] for fault in checked(capsys, folder)] == ["id"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_is_a_fault_or_a_table(tmp_path_factory, data):
    """Bytes put anywhere into any table: never a crash, and what is not refused can be used."""
    name = data.draw(st.sampled_from([LABELS, CLASSES, SAMPLE]))
    content = ("\n".join(SOUND[name]) + "\n").encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 3)))
    put = data.draw(st.binary(max_size=3) | st.text('0123456789,."\n\r-e\0', max_size=3).map(str.encode))
    folder = write(tmp_path_factory.mktemp("fuzz") / "data")
    (folder / name).write_bytes(content[:start] + put + content[end:])
    competition = open_competition(folder, needs_images=False)
    faults = check_tables.table_faults(competition)
    assert all(fault.row is None or 1 <= fault.row <= 9 for fault in faults)
    if not faults:
        assert len(study_table(competition)) == 2


def test_tables_alone_are_no_fault_but_refused_where_images_are_needed(tmp_path, capsys):
    folder = write(tmp_path / "tables", sample=None)
    check.refuse_faults(open_competition(folder, needs_images=False, needs_sample=False))
    with pytest.raises(BadInput) as caught:
        check.refuse_faults(open_competition(folder))
    codes = [fault.code for fault in caught.value.faults]
    assert codes == ["missing", "no-images", "no-images"]


# ------------------------------------------------------------------ through a process of its own, and on real tables


def test_command_line(tmp_path):
    folder = write(tmp_path / "data with (spaces)", labels=[*LABEL_LINES, f"{B},1,2,3,4,0"])
    command = [sys.executable, "-P", "-m", "pneumonia", "check", f"data={folder}", "json=true"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert places(result["faults"]) == [("box-without-target", LABELS, 5)]
    assert result["faults"][0]["file"] == str(folder / LABELS)
    assert f"error: {folder / LABELS}:5: Target is 0, but there is a box" in done.stdout
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([folder.name, *SOUND])


def test_main_job_refuses_the_same(tmp_path, capsys):
    folder = write(tmp_path / "data", labels=[*LABEL_LINES, f"{B},1,2,3,4,0"])
    before = files_of(folder)
    assert cli.main([f"data={folder}", "preset=smoke", "json=true"]) == 2
    assert files_of(folder) == before
    faults = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert ("box-without-target", LABELS, 5) in places(faults)


@pytest.mark.skipif("RSNA_TABLES" not in os.environ, reason="needs the real tables")
def test_real_tables_have_no_faults(capsys):
    tables = Path(os.environ["RSNA_TABLES"])
    assert checked(capsys, tables, f"mapping={tables / 'rsna_nih_mapping.csv'}") == []
