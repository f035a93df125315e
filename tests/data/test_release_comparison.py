"""RSNA's release compared with Kaggle's tables beside it, and its readers with each other."""

import dataclasses
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_up_release import (
    NORMAL,
    NOT_NORMAL,
    OPACITY,
    ORIGINAL,
    SAMPLE,
    edit,
    export_of,
    numbered_image,
    result_of,
    rows_of,
)

from pneumonia.data.competition import open_competition
from pneumonia.data.study_table import study_table

pytestmark = pytest.mark.usefixtures("repository")


def test_check_compares_with_kaggles_tables(kaggle, release, tmp_path, capsys):
    shutil.copytree(release, tmp_path / "both")
    for name in ("stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"):
        shutil.copy(kaggle / name, tmp_path / "both" / name)
    code, result = result_of(capsys, "check", f"data={tmp_path / 'both'}", "workers=1")
    assert code == 0 and [warning["code"] for warning in result["warnings"]] == ["unlabelled"]
    assert result["kaggle"] == {
        "images": 24, "only_here": 0, "only_on_kaggle": 0, "classes": 0, "boxes": 0, "largest_difference": 0.0,
    }  # fmt: skip
    labels = pd.read_csv(tmp_path / "both" / "stage_2_train_labels.csv")
    positive, negative = labels.index[labels["Target"] == 1][0], labels.index[labels["Target"] == 0][0]
    labels.loc[positive, "x"] += 2.5
    gone = labels.loc[negative, "patientId"]
    labels.drop(index=negative).to_csv(tmp_path / "both" / "stage_2_train_labels.csv", index=False)
    _, result = result_of(capsys, "check", f"data={tmp_path / 'both'}", "workers=1")
    assert result["kaggle"]["largest_difference"] == 2.5 and result["kaggle"]["only_here"] == 1
    differing = [warning["what"] for warning in result["warnings"] if warning["code"] == "kaggle-differs"]
    assert len(differing) == 2
    assert labels.loc[positive, "patientId"] in differing[0] and gone in differing[1]


@pytest.mark.skipif("RSNA_TABLES" not in os.environ, reason="needs the real tables")
def test_a_release_made_from_kaggles_real_tables(tmp_path, capsys):
    """All 26,684 labels, moved by less than a pixel as rounding does; 3,000 made-up ones of the real test images."""
    tables = Path(os.environ["RSNA_TABLES"])
    classes = {row["patientId"]: row["class"] for row in rows_of(tables / "stage_2_detailed_class_info.csv")}
    boxes: dict[str, list] = {name: [] for name in classes}
    for row in rows_of(tables / "stage_2_train_labels.csv"):
        if row["Target"] == "1":
            x, y, width, height = (float(row[side]) for side in ("x", "y", "width", "height"))
            boxes[row["patientId"]].append((x, y, width - 0.4, height))
    nih = {row["patientId"]: row["nih_image"] for row in rows_of(tables / "rsna_nih_mapping.csv")}
    images = [
        dataclasses.replace(numbered_image(number, kind, *boxes[name]), patient_id=name, nih_image=nih.get(name, ""))
        for number, (name, kind) in enumerate(classes.items())
    ]
    test = [row["patientId"] for row in rows_of(tables / SAMPLE)]
    images += [
        dataclasses.replace(numbered_image(number, NORMAL, is_test=True), patient_id=name)
        for number, name in enumerate(test, len(images))
    ]
    folder = export_of(images, tmp_path / "release")
    for name in ("stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"):
        (folder / name).write_bytes((tables / name).read_bytes())
    code, result = result_of(capsys, "check", f"data={folder}")
    assert code == 0 and [warning["code"] for warning in result["warnings"]] == ["no-images", "mapping-lacks"]
    comparison = result["kaggle"]
    assert comparison.pop("largest_difference") == pytest.approx(0.4)
    assert comparison == {"images": 26_684, "only_here": 0, "only_on_kaggle": 0, "classes": 0, "boxes": 0}
    study = study_table(open_competition(folder))
    assert study["class"].value_counts().to_dict() == {"not_normal": 11821, "opacity": 6012, "normal": 8851}
    assert study["boxes"].map(len).sum() == 9555 and study["group"].nunique() == 11410 + 98


def test_eda_says_how_well_readers_agree(release, tmp_path, capsys):
    """In the made-up release one reader reads each image, and every tenth wrongly."""
    code, result = result_of(capsys, "eda", f"data={release}", f"out={tmp_path / 'out'}", "workers=1")
    assert code == 0
    readers = result["readers"]
    assert (readers["images"], readers["readings"], readers["pairs"]) == (24, 24, 0)
    assert readers["agreement"] == pytest.approx(22 / 24)
    assert 0.7 < readers["box_iou"] < 1
    assert "Cohen" in Path(result["page"]).read_text()


def test_two_readers_of_one_image(small, tmp_path, capsys):
    def second_reader(project):
        annotations = project["datasets"][0]["annotations"]
        positive, negative = annotations[0], annotations[-2]
        annotations.append(negative | {"createdById": "U_9"})
        annotations.append(
            negative | {"createdById": "U_9", "SOPInstanceUID": positive["SOPInstanceUID"], "data": None}
        )

    edit(small, second_reader, ORIGINAL)
    _, result = result_of(capsys, "eda", f"data={small}", f"out={tmp_path / 'out'}")
    readers = result["readers"]
    assert (readers["readings"], readers["pairs"], readers["pair_agreement"]) == (5, 2, 0.5)
    assert readers["agreement"] == 4 / 5
    assert readers["called_opacity"] == {NORMAL: 0.0, NOT_NORMAL: 0.0, OPACITY: 0.5}


def test_eda_of_a_few_images_of_many(release, tmp_path, capsys):
    """Pictures are of the images that are there; counts are of all."""
    images = open_competition(release).train_images
    shutil.copytree(release, tmp_path / "few")
    for path in list(images.values())[5:]:
        (tmp_path / "few" / path.relative_to(release)).unlink()
    code, result = result_of(capsys, "eda", f"data={tmp_path / 'few'}", f"out={tmp_path / 'out'}", "workers=1")
    assert code == 0 and result["images"] == 24
