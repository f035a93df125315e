"""Exploration: the summary's figures on a small built competition and, where they are, on the real tables."""

import json
import os
from pathlib import Path

import pytest

from pneumonia import cli
from pneumonia.demo import competition as phantom

NORMAL, NOT_NORMAL, OPACITY = "Normal", "No Lung Opacity / Not Normal", "Lung Opacity"
IDS = [f"00000000-0000-0000-0000-00000000000{k}" for k in range(5)]


def eda(capsys, folder, out, *words) -> dict:
    assert cli.main(["eda", f"data={folder}", f"out={out}", "json=true", *words]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def built(tmp_path) -> Path:
    """Five images: two boxes, one box, none; three people; one age that cannot be."""
    folder = tmp_path / "built"
    folder.mkdir()
    boxes = {0: ["10,20,100,200", "500,20,100,200"], 1: ["10,20,300,300"]}
    labels = [f"{IDS[k]},{box},1" for k in boxes for box in boxes[k]] + [f"{IDS[k]},,,,,0" for k in (2, 3, 4)]
    classes = [OPACITY, OPACITY, OPACITY, NORMAL, NOT_NORMAL, NORMAL]
    names = [IDS[0], IDS[0], *IDS[1:]]
    (folder / "stage_2_train_labels.csv").write_text("patientId,x,y,width,height,Target\n" + "\n".join(labels))
    pairs = "\n".join(f"{name},{kind}" for name, kind in zip(names, classes))
    (folder / "stage_2_detailed_class_info.csv").write_text("patientId,class\n" + pairs)
    people = "\n".join(f"{name},{person}" for name, person in zip(IDS, (1, 1, 1, 2, 2)))
    (folder / "mapping.csv").write_text("patientId,nih_patient\n" + people)
    facts = zip(IDS, ("M", "M", "F", "F", "M"), (10, 11, 155, 30, 40), ("AP", "AP", "PA", "PA", "PA"))
    rows = "\n".join(",".join(map(str, row)) for row in facts)
    (folder / "headers.csv").write_text("PatientID,PatientSex,PatientAge,ViewPosition\n" + rows)
    return folder


def test_a_built_table_is_counted_to_the_digit(built, tmp_path, capsys):
    result = eda(capsys, built, tmp_path / "out", f"headers={built / 'headers.csv'}")
    summary = json.loads(Path(result["summary"]).read_text())
    assert summary == {
        "rows": 6,
        "images": 5,
        "boxes": 3,
        "repeated_ids": 1,
        "images_by_rows": {"1": 4, "2": 1},
        "class_rows": {OPACITY: 3, NOT_NORMAL: 1, NORMAL: 2},
        "class_images": {OPACITY: 2, NOT_NORMAL: 1, NORMAL: 2},
        "target_images": {"0": 3, "1": 2},
        "sex_share_rows": {"M": pytest.approx(4 / 6), "F": pytest.approx(2 / 6)},
        "view_images": {"AP": 2, "PA": 3},
        "age_groups_rows": {"(0,10]": 2, "(10,20]": 1, "(20,30]": 1, "(30,40]": 1, "(150,160]": 1},
        "people": 2,
        "people_with_several": 2,
        "images_of_people_with_several": 5,
        "max_images_of_a_person": 3,
        "images_without_person": 0,
    }


def test_the_page_holds_everything_itself(built, tmp_path, capsys):
    result = eda(capsys, built, tmp_path / "out", f"headers={built / 'headers.csv'}")
    html = Path(result["page"]).read_text()
    assert html.count("data:image/png;base64,") == 3
    assert "an error, missing for models" in html
    assert "http" not in html and "<script" not in html


def test_tables_alone_are_enough(built, tmp_path, capsys):
    (built / "mapping.csv").unlink()
    summary = eda(capsys, built, tmp_path / "out")
    assert summary["view_images"] == {} and summary["people"] == 5
    assert "every image counts as a separate person" in Path(summary["page"]).read_text()


def test_images_bring_means_and_examples(tmp_path, capsys):
    folder = phantom.generate(tmp_path / "demo", train_images=24, test_images=2)
    result = eda(capsys, folder, tmp_path / "out")
    html = Path(result["page"]).read_text()
    assert result["images"] == 24 and sum(result["view_images"].values()) == 24
    assert html.count("data:image/jpeg;base64,") >= 6
    assert "Mean image of each class" in html


def test_the_first_stages_test_set_against_the_rest(built, tmp_path, capsys):
    (built / "stage_1_test_ids.csv").write_text(f"{IDS[0]}\n{IDS[3]}\n")
    stage_1 = eda(capsys, built, tmp_path / "out")["stage_1"]
    assert stage_1["stage_1"] == {
        "images": 2, "positive_share": 0.5, "median_width": 100, "median_height": 200, "mean_area": 20000,
    }  # fmt: skip
    assert stage_1["rest"]["images"] == 3 and stage_1["images_sharing_a_person_with_the_rest"] == 2


@pytest.mark.skipif("RSNA_TABLES" not in os.environ, reason="RSNA_TABLES names no folder")
def test_the_real_tables_to_the_digit(tmp_path, capsys):
    tables = Path(os.environ["RSNA_TABLES"])
    words = [f"mapping={tables / 'rsna_nih_mapping.csv'}", f"headers={tables / 'stage_2_train_dicom_headers.csv.gz'}"]
    summary = eda(capsys, tables, tmp_path / "out", *words)
    wanted = {
        "rows": 30_227,
        "images": 26_684,
        "boxes": 9_555,
        "repeated_ids": 3_543,
        "images_by_rows": {"1": 23_286, "2": 3_266, "3": 119, "4": 13},
        "class_rows": {NOT_NORMAL: 11_821, OPACITY: 9_555, NORMAL: 8_851},
        "class_images": {NOT_NORMAL: 11_821, OPACITY: 6_012, NORMAL: 8_851},
        "target_images": {"0": 20_672, "1": 6_012},
        "age_groups_rows": {
            "(0,10]": 515, "(10,20]": 1_688, "(20,30]": 3_704, "(30,40]": 4_551, "(40,50]": 5_671, "(50,60]": 7_446,
            "(60,70]": 4_730, "(70,80]": 1_637, "(80,90]": 275, "(90,100]": 5, "(140,150]": 2, "(150,160]": 3,
        },
        "people": 11_410,
        "people_with_several": 4_342,
        "images_of_people_with_several": 19_518,
        "max_images_of_a_person": 65,
        "images_without_person": 98,
    }  # fmt: skip
    assert {key: summary[key] for key in wanted} == wanted
    assert round(summary["sex_share_rows"]["M"], 4) == 0.5696
    stage_1, rest = summary["stage_1"]["stage_1"], summary["stage_1"]["rest"]
    assert (stage_1["images"], stage_1["positive_share"], round(rest["positive_share"], 3)) == (1000, 0.353, 0.220)
    assert (stage_1["median_width"], stage_1["median_height"], round(stage_1["mean_area"])) == (178, 225, 50_082)
    assert (rest["median_width"], rest["median_height"], round(rest["mean_area"])) == (219, 304, 79_333)
    assert summary["stage_1"]["images_sharing_a_person_with_the_rest"] == 710


def test_a_newborn_is_counted(built, tmp_path, capsys):
    headers = built / "headers.csv"
    headers.write_text(headers.read_text().replace(",10,AP", ",0,AP"))
    result = eda(capsys, built, tmp_path / "out", f"headers={headers}")
    assert json.loads(Path(result["summary"]).read_text())["age_groups_rows"]["0"] == 2
    assert "Sex, view and age" in Path(result["page"]).read_text()


def test_sex_and_view_are_shown_where_no_age_is_known(built, tmp_path, capsys):
    lines = (built / "headers.csv").read_text().splitlines()
    without_ages = [",".join([image, sex, "", view]) for image, sex, _, view in (line.split(",") for line in lines[1:])]
    (built / "headers.csv").write_text("\n".join([lines[0], *without_ages]))
    page = Path(eda(capsys, built, tmp_path / "out", f"headers={built / 'headers.csv'}")["page"]).read_text()
    assert "<h2>Sex and view</h2>" in page and "sex, view against class" in page and "Age groups" not in page
