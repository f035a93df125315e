"""A mapping or a table of headers that does not fit its images is refused or said in one line, by every command."""

import json

import pytest

from pneumonia import cli

IDS = [f"0000000{k}-0000-4a00-8000-00000000000{k}" for k in range(8)]


@pytest.fixture
def folder(tmp_path):
    """Tables of eight images, and a submission for them."""
    root = tmp_path / "data"
    root.mkdir()
    rows = [f"{name},10,20,30,40,1" if k % 2 else f"{name},,,,,0" for k, name in enumerate(IDS)]
    kinds = [f"{name},{'Lung Opacity' if k % 2 else 'Normal'}" for k, name in enumerate(IDS)]
    write(root / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", rows)
    write(root / "stage_2_detailed_class_info.csv", "patientId,class", kinds)
    write(tmp_path / "submission.csv", "patientId,PredictionString", [f"{name},0.5 10 20 30 40" for name in IDS])
    return tmp_path


def write(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")


def called(folder, capsys, command, ids):
    """Exit code, JSON and text of a command with a mapping of these ids, two images a person."""
    mapping = folder / "people.csv"
    write(mapping, "patientId,nih_patient", [f"{name},{k // 2}" for k, name in enumerate(ids)])
    words = {
        "folds": [f"data={folder / 'data'}", f"mapping={mapping}", "n_folds=2", f"out={folder / 'folds.csv'}"],
        "eda": [f"data={folder / 'data'}", f"mapping={mapping}", f"out={folder / 'eda'}"],
        "check": [f"data={folder / 'data'}", f"mapping={mapping}"],
        "score": [
            f"submission={folder / 'submission.csv'}",
            f"labels={folder / 'data' / 'stage_2_train_labels.csv'}",
            f"groups={mapping}",
            "draws=10",
        ],
    }
    name, *more = command.split()
    code = cli.main([name, *words[name], "json=true", *more])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.out + captured.err


@pytest.mark.parametrize("command", ["folds", "eda", "score", "check"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda name: "X" + name, f"'X{IDS[0]}' here, '{IDS[0]}' there"),
        (str.upper, "they differ in capital letters"),
        (lambda name: name + ".dcm", "they differ in the ending of a file"),
        (lambda name: "images/" + name.upper(), "a folder before the name and capital letters"),
    ],
)
def test_a_mapping_of_other_ids_is_refused(folder, capsys, command, change, says):
    code, _, text = called(folder, capsys, command, map(change, IDS))
    assert code == 2 and "names none of the 8 images" in text and says in text
    assert called(folder, capsys, f"{command} allow_unmapped=true", map(change, IDS))[0] == 2


@pytest.mark.parametrize("command", ["folds", "eda", "score"])
def test_half_a_mapping_is_taken_only_when_asked_for(folder, capsys, command):
    code, _, text = called(folder, capsys, command, IDS[:4])
    assert code == 2 and "lacks 4 of 8 images" in text and "allow_unmapped=true" in text
    code, result, text = called(folder, capsys, f"{command} allow_unmapped=true", IDS[:4])
    assert code == 0 and result["unmapped"] == {"count": 4, "first": IDS[4]}
    assert "warning: " in text and "lacks 4 of 8 images" in text
    code, result, text = called(folder, capsys, command, IDS)
    assert code == 0 and result["unmapped"] == {"count": 0, "first": None} and "warning: " not in text


def test_leaks_of_people_who_are_not_known_are_not_called_none(folder, capsys):
    _, result, text = called(folder, capsys, "folds allow_unmapped=true", IDS[:4])
    assert result["leaking_people"] == 0 and "not known of 4 of 8 images" in text
    code = cli.main(["folds", f"data={folder / 'data'}", "n_folds=2", f"out={folder / 'f.csv'}", "json=true"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0 and result["leaking_people"] is None and result["unmapped"] is None


def test_ages_as_dicom_writes_them(folder, capsys):
    groups = {}
    for name, ages in (("plain", ("45", "1.5", "", "7")), ("dicom", ("045Y", "018M", "nan", "365W"))):
        rows = [f"{image},F,{age},PA" for image, age in zip(IDS, ages * 2)]
        write(folder / "headers.csv", '"PatientID", PatientSex,PatientAge,ViewPosition ', rows)
        words = [f"data={folder / 'data'}", f"out={folder / name}", f"headers={folder / 'headers.csv'}"]
        assert cli.main(["eda", *words, "json=true"]) == 0
        groups[name] = json.loads(capsys.readouterr().out.splitlines()[-1])["age_groups_rows"]
    assert groups["plain"] == groups["dicom"] == {"(0,10]": 4, "(40,50]": 2}


def test_headers_of_other_images_and_unread_ages_are_said(folder, capsys):
    write(folder / "h.csv", "PatientID,PatientAge", [f"{name.upper()},5" for name in IDS])
    words = [f"data={folder / 'data'}", f"out={folder / 'eda'}", f"headers={folder / 'h.csv'}"]
    assert cli.main(["eda", *words]) == 2
    assert "differ in capital letters" in capsys.readouterr().err
    write(folder / "h.csv", "PatientID,PatientAge", [f"{name},{age}" for name, age in zip(IDS, ("5", "old", "6"))])
    assert cli.main(["eda", *words]) == 0
    said = capsys.readouterr().err
    assert "'old', in row 3" in said and "lacks 5 of 8 images" in said


def test_repeated_label_rows_have_no_score(folder, capsys):
    labels = folder / "data" / "stage_2_train_labels.csv"
    labels.write_text(labels.read_text() + f"{IDS[1]},10.0,20,30,40.00,1\n")
    words = [f"submission={folder / 'submission.csv'}", f"labels={labels}"]
    assert cli.main(["score", *words]) == 2
    assert "stage_2_train_labels.csv:10: repeats row 3" in capsys.readouterr().err
