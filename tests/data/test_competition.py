"""What a competition folder holds, who is on which image, and the study table."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pneumonia import schema
from pneumonia.data.ages import plausible_ages
from pneumonia.data.competition import open_competition, resolve
from pneumonia.data.study_table import study_table
from pneumonia.demo.competition import generate
from pneumonia.system.errors import BadInput

LABELS, CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
A, B, C = (f"{letter * 8}-{letter * 4}-4{letter * 3}-8{letter * 3}-{letter * 12}" for letter in "abc")


@pytest.fixture
def tables(tmp_path) -> Path:
    """Tables of three images, without images and sample: B before A, so that an order is to be made."""
    folder = tmp_path / "tables"
    folder.mkdir()
    labels = ["patientId,x,y,width,height,Target", f"{B},,,,,0", f"{A},562,152,256,453,1", f"{A},264,1,213,379.5,1"]
    classes = ["patientId,class", f"{C},Normal", f"{B},No Lung Opacity / Not Normal", *[f"{A},Lung Opacity"] * 2]
    (folder / LABELS).write_text("\n".join([*labels, f"{C},,,,,0"]) + "\n")
    (folder / CLASSES).write_text("\n".join(classes) + "\n")
    return folder


def mapping_of(folder: Path, text: str, name: str = "people.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_study_table_of_tables_alone(tables):
    study = study_table(open_competition(tables))
    assert list(study.columns) == ["patientId", "target", "class", "group", "sex", "age", "view", "boxes"]
    assert study["patientId"].tolist() == [A, B, C]
    assert study["target"].tolist() == [1, 0, 0]
    assert study["class"].tolist() == ["opacity", "not_normal", "normal"]
    assert study["group"].tolist() == [A, B, C]
    assert study[["sex", "age", "view"]].isna().all(axis=None)
    assert [(xywh.shape, xywh.dtype) for xywh in study["boxes"]] == [((n, 4), np.float64) for n in (2, 0, 0)]
    assert study["boxes"][0].tolist() == [[562, 152, 256, 453], [264, 1, 213, 379.5]]


@pytest.mark.parametrize(
    "names",
    [
        ("patientId", "sex", "age", "view", "rows", "columns"),
        ("PatientID", "PatientSex", "PatientAge", "ViewPosition", "Rows", "Columns"),
    ],
)
def test_headers_of_the_cache_or_of_a_table(tables, names):
    header = pd.DataFrame([(C, "F", 151, "PA", 600, 700), (A, "", 7, "AP", 2000, 3000)], columns=names)
    study = study_table(open_competition(tables), header=header)
    assert study["sex"].fillna("").tolist() == ["", "", "F"]
    assert study["view"].fillna("").tolist() == ["AP", "", "PA"]
    assert study["age"].fillna(-1).tolist() == [7, -1, 151]
    assert plausible_ages(study["age"]).fillna(-1).tolist() == [7, -1, -1]


def test_boxes_are_cut_to_the_size_in_the_header(tables):
    small = pd.DataFrame({"patientId": [A], "rows": [400], "columns": [600]})
    with pytest.raises(BadInput, match="exceeds the image's 600 x 400 pixels"):
        study_table(open_competition(tables), header=small)
    study = study_table(open_competition(tables), clip_boxes=True, header=small)
    assert study["boxes"][0].tolist() == [[562, 152, 38, 248], [264, 1, 213, 379.5]]


def test_study_table_refuses_faulty_tables(tables):
    with open(tables / LABELS, "a") as file:
        file.write(f"{A},1,2,3,4,0\n{B},,,,,5\n")
    with pytest.raises(BadInput) as caught:
        study_table(open_competition(tables))
    assert [(fault.code, fault.row) for fault in caught.value.faults] == [("box-without-target", 6), ("target", 7)]


def test_mapping_csv_with_more_columns(tables):
    text = f"patientId,nih_image,nih_patient,mse\n{A},00000019_001.png,19,1.5\n{B},00000019_002.png,00000019,2\n"
    study = study_table(open_competition(tables, mapping_of(tables, text)))
    assert study["group"].tolist() == ["19", "19", C]


def test_official_json_names_people_as_the_csv_does(tables):
    objects = [
        {"subset_img_id": A, "img_id": "00000019_001.png", "orig": {"labels": ["x"]}},
        {"subset_img_id": B, "subset": {"images": [1, {"name": "00000019_002.png"}]}},
    ]
    expected = {A: "19", B: "19"}
    assert open_competition(tables, mapping_of(tables, json.dumps(objects), "m.json")).people() == expected
    objects += [{"subset_img_id": "", "img_id": "00000019_003.png"}, {"subset_img_id": C, "img_id": None}]
    assert open_competition(tables, mapping_of(tables, json.dumps(objects), "text.csv")).people() == expected


def test_mapping_in_the_folder_is_found(tables):
    assert open_competition(tables).people() == {}
    mapping_of(tables, f"patientId,nih_patient\n{A},5\n", "mapping.csv")
    assert open_competition(tables).people() == {A: "5"}


@pytest.mark.parametrize(
    ("name", "text", "code", "row"),
    [
        ("m.csv", f"patientId,nih_patient\n{A},1\n{A},2\n", "mapping-contradiction", 3),
        ("m.csv", f"patientId,nih_patient\n{A},1\n{B}\n", "cells", 3),
        ("m.csv", f"patientId,nih_patient\n{A},1\n{B},nan\n", "mapping", 3),
        ("m.csv", f"patientId;nih_patient\n{A};1\n", "separator", 1),
        ("m.csv", f'patientId,nih_patient\n{A},"1\n', "open-quote", 2),
        ("m.csv", f"patientId,nih_patient\n{A},\n", "mapping", 2),
        ("m.csv", f"image,nih_patient\n{A},1\n", "columns", 1),
        ("m.csv", f"patientId,patient\n{A},1\n", "columns", 1),
        ("m.csv", "", "empty", None),
        ("m.csv", "patientId,nih_patient\n", "mapping", None),
        ("m.json", "[{]", "mapping", 1),
        ("m.json", "{}", "mapping", None),
        ("m.json", "[]", "mapping", None),
        ("m.json", "[" * 100000, "mapping", None),
        ("m.json", '[{"img_id": "00000019_001.png"}]', "mapping", None),
        ("m.json", json.dumps([{"subset_img_id": A, "img_id": "none"}]), "mapping", None),
        (
            "m.json",
            json.dumps([{"subset_img_id": A, "img": f"0000000{person}_000.png"} for person in (1, 2)]),
            "mapping-contradiction",
            None,
        ),
    ],
)
def test_fault_of_the_mapping(tables, name, text, code, row):
    path = mapping_of(tables, text, name)
    with pytest.raises(BadInput) as caught:
        open_competition(tables, path).people()
    assert [(fault.code, fault.file, fault.row) for fault in caught.value.faults] == [(code, path, row)]


def test_what_is_not_there(tables, tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        open_competition(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="no such file"):
        study_table(open_competition(tables, str(tmp_path / "no mapping.csv")))


def test_content_key_follows_tables_and_images(tmp_path):
    folder = generate(tmp_path / "demo", train_images=2, test_images=1, seed=1, workers=1)
    key = open_competition(folder).content_key
    assert open_competition(folder).content_key == key
    image = next(iter(open_competition(folder).test_images.values()))
    image.write_bytes(image.read_bytes() + b"\0")
    changed = open_competition(folder).content_key
    assert changed != key
    with open(folder / LABELS, "a") as file:
        file.write("\n")
    assert open_competition(folder).content_key not in (key, changed)


def test_a_folder_called_demo_is_not_the_synthetic_one(tmp_path):
    folder = generate(tmp_path / "demo", train_images=2, test_images=1, seed=1, workers=1)
    assert open_competition(folder).name == "demo-folder"
    assert resolve(schema.Data(data=str(folder))).name == "demo-folder"


def test_resolve_takes_the_folder_as_given(tmp_path, monkeypatch):
    folder = generate(tmp_path / "röntgen (1)", train_images=2, test_images=1, seed=1, workers=1)
    monkeypatch.chdir(tmp_path)
    competition = resolve(schema.Data(data="röntgen (1)"))
    assert competition.root == folder and competition.name == "röntgen (1)"
    assert len(competition.train_images) == 2 and len(competition.test_images) == 1
    assert len(competition.people()) == 3
    study = study_table(competition)
    assert set(study["patientId"]) == set(competition.train_images)


@pytest.mark.skipif("RSNA_TABLES" not in os.environ, reason="needs the real tables")
def test_study_table_of_the_real_competition():
    tables = Path(os.environ["RSNA_TABLES"])
    competition = open_competition(tables, str(tables / "rsna_nih_mapping.csv"))
    header = pd.read_csv(tables / "stage_2_train_dicom_headers.csv.gz")
    started = time.process_time()
    study = study_table(competition, header=header)
    assert time.process_time() - started < 2.5
    assert study["class"].value_counts().to_dict() == {"not_normal": 11821, "opacity": 6012, "normal": 8851}
    assert study["target"].value_counts().to_dict() == {0: 20672, 1: 6012}
    assert study["boxes"].map(len).sum() == 9555
    known = study["group"] != study["patientId"]
    assert known.sum() == 26586 and study.loc[known, "group"].nunique() == 11410
    example = study.set_index("patientId").loc["00436515-870c-4b36-a041-de91049b9ab4"]
    assert example[["sex", "age", "view"]].tolist() == ["F", 32, "AP"]
    assert example["boxes"].tolist() == [[264, 152, 213, 379], [562, 152, 256, 453]]


def test_a_link_to_nowhere_among_the_images_has_no_size(tmp_path):
    folder = generate(tmp_path / "rsna", train_images=4, test_images=2, workers=1)
    key = open_competition(folder).content_key
    image = next((folder / "stage_2_train_images").glob("*.dcm"))
    image.unlink()
    image.symlink_to(tmp_path / "nowhere.dcm")
    assert open_competition(folder).content_key != key
