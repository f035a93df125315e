"""RSNA's own release as data: the same competition as Kaggle's form of the same images, however it lies on the disk."""

import dataclasses
import json
import os
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from made_up_release import (
    ADJUDICATED,
    ARCHIVE,
    MAPPINGS,
    NORMAL,
    NOT_NORMAL,
    OPACITY,
    ORIGINAL,
    SAMPLE,
    Image,
    draw_images,
    export_of,
    release_of,
    rows_of,
)

from pneumonia import cli, config
from pneumonia.data.competition import open_competition
from pneumonia.data.formats.base import Given
from pneumonia.data.headers import read_headers
from pneumonia.data.image_files import read_image
from pneumonia.data.ingest import ingest
from pneumonia.data.mdai import read_export
from pneumonia.data.study_table import study_table
from pneumonia.data.tables import read_labels
from pneumonia.demo.competition import generate
from pneumonia.system.errors import BadInput


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("kaggle") / "rsna", train_images=24, test_images=4, seed=3, workers=1)


@pytest.fixture(scope="module")
def release(kaggle, tmp_path_factory) -> Path:
    return release_of(kaggle, tmp_path_factory.mktemp("release") / "rsna")[0]


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch) -> Path:
    """Tables and caches are written to the test's own folder."""
    monkeypatch.setattr(config, "REPOSITORY", tmp_path / "repository")
    return tmp_path / "repository"


def result_of(capsys, *words) -> tuple[int, dict]:
    code = cli.main([*map(str, words), "json=true"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def zipped(archive: Path, folder: Path) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, path.relative_to(folder))
    return archive


def label_rows(competition, table="labels") -> set:
    rows = read_labels(getattr(competition, table), [])
    return set(zip(rows.ids, rows.boxes))


# ------------------------------------------------------------------ the same competition

NOT_IN_PNG = ["sex", "age", "view", "modality", "spacing"]


def as_png(kaggle: Path, folder: Path) -> Path:
    """The competition with PNGs of the pixels that the DICOMs hold."""
    shutil.copytree(kaggle, folder)
    for dicom in folder.glob("stage_2_*_images/*.dcm"):
        cv2.imwrite(str(dicom.with_suffix(".png")), read_image(dicom)[0])
        dicom.unlink()
    return folder


def test_the_same_competition_four_ways(kaggle, release, tmp_path, capsys):
    """Kaggle's folder, its zip, RSNA's release, a folder of PNGs: the same ids, labels, people, folds and pixels."""
    ways = {
        "folder": kaggle,
        "zip": zipped(tmp_path / "rsna.zip", kaggle),
        "release": release,
        "png": as_png(kaggle, tmp_path / "png"),
    }
    opened = {way: open_competition(path) for way, path in ways.items()}
    headers = tmp_path / "headers.csv"
    read_headers(opened["folder"], workers=1).to_csv(headers, index=False)
    caches, folds = {}, {}
    for way, competition in opened.items():
        assert list(competition.train_images) == list(opened["folder"].train_images)
        assert list(competition.test_images) == list(opened["folder"].test_images)
        assert label_rows(competition) == label_rows(opened["folder"])
        assert rows_of(competition.sample) == rows_of(kaggle / SAMPLE)
        study = study_table(competition)
        assert study["group"].tolist() == study_table(opened["folder"])["group"].tolist()
        caches[way] = ingest(competition, 1024, 1)
        code, result = result_of(
            capsys, "folds", f"data={ways[way]}", "n_folds=3", f"headers={headers}", f"out={tmp_path / way}.csv"
        )
        assert code == 0 and result["leaking_people"] == 0
        folds[way] = Path(result["file"]).read_bytes()
    assert len(set(folds.values())) == 1
    different = {"zip": ["mtime_ns"], "release": [], "png": ["mtime_ns", "bytes", "sha256", *NOT_IN_PNG]}
    for way, columns in different.items():
        np.testing.assert_array_equal(caches[way].pixels, caches["folder"].pixels)
        assert caches[way].index.drop(columns=columns).equals(caches["folder"].index.drop(columns=columns))


def test_folds_by_the_headers_of_the_release(kaggle, release, tmp_path, capsys):
    tables = []
    for number, data in enumerate((kaggle, release)):
        code, result = result_of(capsys, "folds", f"data={data}", "n_folds=3", f"out={tmp_path / str(number)}.csv")
        assert code == 0
        tables.append(Path(result["file"]).read_bytes())
    assert tables[0] == tables[1]


def test_check_finds_no_fault_and_says_what_is_left_out(release, capsys):
    code, result = result_of(capsys, "check", f"data={release}", "workers=1")
    assert (code, result["faults"]) == (0, [])
    (warning,) = result["warnings"]
    assert warning["code"] == "unlabelled" and "for 2 images (Exclude 2, Question Addressed 2)" in warning["what"]


def test_the_labels_of_the_test_images_are_a_table_of_their_own(kaggle, release):
    competition = open_competition(release)
    test = {row["patientId"] for row in rows_of(kaggle / SAMPLE)}
    assert {image for image, _ in label_rows(competition, "final_labels")} == test == competition.test_ids
    assert label_rows(competition, "final_labels") == {
        (row["patientId"], tuple(float(row[side]) for side in ("x", "y", "width", "height")) if row["x"] else None)
        for row in rows_of(kaggle / "test_labels.csv")
    }
    assert competition.test_labels is None
    assert test.isdisjoint(study_table(competition)["patientId"])


# ------------------------------------------------------------------ where the files lie


def images_beside_files(release: Path, root: Path) -> Path:
    shutil.copytree(release / ARCHIVE, root, dirs_exist_ok=True)
    return copy_tables(release, root)


def copy_tables(release: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in release.glob("*.*"):
        if file.is_file():
            shutil.copy(file, folder)
    return folder


def unpacked_folder_inside(release: Path, root: Path) -> Path:
    shutil.copytree(release / ARCHIVE, root / "pneumonia-challenge-dataset-adjudicated-kaggle_2018" / ARCHIVE)
    return copy_tables(release, root)


def tables_in_a_folder(release: Path, root: Path) -> Path:
    shutil.copytree(release / ARCHIVE, root / "raw" / "images")
    copy_tables(release, root / "annotations")
    return root


def folder_of_images(release: Path, root: Path) -> Path:
    shutil.copytree(release, root)
    return root / ARCHIVE


def zip_beside_the_tables(release: Path, root: Path) -> Path:
    copy_tables(release, root)
    zip_of_images(release, root)
    return root


def zip_of_images(release: Path, root: Path) -> Path:
    copy_tables(release, root)
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for path in (release / ARCHIVE).rglob("*.dcm"):
            archive.write(path, path.relative_to(release))
    return root / "images.zip"


def zip_of_everything(release: Path, root: Path) -> Path:
    return zipped(root / "rsna.zip", release)


LAYOUTS = [
    images_beside_files,
    unpacked_folder_inside,
    tables_in_a_folder,
    folder_of_images,
    zip_beside_the_tables,
    zip_of_images,
    zip_of_everything,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_wherever_the_files_lie(release, tmp_path, layout):
    expected = open_competition(release)
    competition = open_competition(layout(release, tmp_path / "x"))
    assert list(competition.train_images) == list(expected.train_images)
    assert competition.labels.read_bytes() == expected.labels.read_bytes()
    assert competition.people() == expected.people() and competition.release.readers is not None
    assert competition.content_key == expected.content_key


def test_two_archives_or_two_tables_are_not_guessed_between(release, tmp_path):
    shutil.copytree(release, tmp_path / "two")
    shutil.copytree(release / ARCHIVE, tmp_path / "two" / "mdai_public_project_LxR6zdR2_images_2018-08-20-184248")
    with pytest.raises(BadInput, match="has studies in several folders"):
        open_competition(tmp_path / "two")
    shutil.copy(release / ADJUDICATED, release / ARCHIVE)
    try:
        with pytest.raises(BadInput, match="has two files of one kind"):
            open_competition(release)
    finally:
        (release / ARCHIVE / ADJUDICATED).unlink()


def test_the_archive_lacks_some_images(release, tmp_path, capsys):
    """The later archive has partly other images: they are named, and left out where that is asked for."""
    images = open_competition(release).train_images
    shutil.copytree(release, tmp_path / "less")
    missing, extra = sorted(images)[3], "2.25.77.1/2.25.77.2/2.25.77.3.dcm"
    (tmp_path / "less" / images[missing].relative_to(release)).unlink()
    (tmp_path / "less" / ARCHIVE / extra).parent.mkdir(parents=True)
    shutil.copy(next(iter(images.values())), tmp_path / "less" / ARCHIVE / extra)
    code, result = result_of(capsys, "check", f"data={tmp_path / 'less'}", "workers=1")
    (fault,) = result["faults"]
    assert code == 2 and fault["what"] == f"there is no file of {missing} in {ARCHIVE}"
    assert [warning["code"] for warning in result["warnings"]] == ["unlabelled", "not-annotated"]
    code, result = result_of(capsys, "check", f"data={tmp_path / 'less'}", "workers=1", "allow_missing=true")
    assert (code, result["faults"]) == (0, [])
    competition = open_competition(tmp_path / "less", given=Given(allow_missing=True))
    assert missing not in set(study_table(competition)["patientId"]) and len(competition.train_images) == 23


def test_a_file_is_the_image_that_its_uid_says(release, tmp_path, capsys):
    """Its PatientID may be another one; a file with another image's content is refused."""
    shutil.copytree(release, tmp_path / "copy")
    competition = open_competition(tmp_path / "copy")
    first, second, third = list(competition.train_images.values())[:3]
    dataset = pydicom.dcmread(first)
    dataset.PatientID = "another"
    dataset.save_as(first)
    shutil.copy(third, second)
    code, result = result_of(capsys, "check", f"data={tmp_path / 'copy'}", "workers=1")
    assert code == 2 and [(fault["code"], fault["file"]) for fault in result["faults"]] == [("id", str(second))]


# ------------------------------------------------------------------ which images are the test set


def test_without_kaggles_sample_the_test_images_must_be_named(release, tmp_path, capsys):
    shutil.copytree(release, tmp_path / "copy")
    (tmp_path / "copy" / SAMPLE).unlink()
    for command in ("check", "folds", "eda"):
        code, result = result_of(capsys, command, f"data={tmp_path / 'copy'}", f"out={tmp_path / 'out'}")
        faults = result["error"] if command != "check" else result["faults"]
        assert code == 2 and "test_ids=" in str(faults)
    ids = [row["patientId"] for row in rows_of(release / SAMPLE)]
    expected = open_competition(release)
    for text in ("\n".join(ids), "\n".join(f"stage_2_test_images/{name}.dcm" for name in reversed(ids))):
        (tmp_path / "ids.txt").write_text(text)
        competition = open_competition(tmp_path / "copy", given=Given(test_ids=tmp_path / "ids.txt"))
        assert competition.labels.read_bytes() == expected.labels.read_bytes()
        assert [row["patientId"] for row in rows_of(competition.sample)] == ids
    (tmp_path / "ids.txt").write_text("nobody\n" + ids[0].upper())
    with pytest.raises(BadInput, match=r"2 of its 2 images have no label .* they differ in capital letters"):
        open_competition(tmp_path / "copy", given=Given(test_ids=tmp_path / "ids.txt"))


def test_without_the_mapping_the_uids_are_the_ids(release, tmp_path, capsys):
    shutil.copytree(release, tmp_path / "copy")
    (tmp_path / "copy" / MAPPINGS).unlink()
    with pytest.raises(BadInput, match="give mapping= RSNA's"):
        open_competition(tmp_path / "copy")
    test = [path.stem for path in open_competition(release).test_images.values()]
    (tmp_path / "copy" / SAMPLE).write_text("patientId,PredictionString\n" + "".join(f"{name},\n" for name in test))
    competition = open_competition(tmp_path / "copy")
    assert set(competition.test_images) == set(test) and not competition.has_uuids
    code, result = result_of(capsys, "check", f"data={tmp_path / 'copy'}", "workers=1")
    assert code == 0 and {"no-kaggle-ids", "no-mapping"} <= {warning["code"] for warning in result["warnings"]}


# ------------------------------------------------------------------ the annotations


def image(number: int, kind: str, *boxes, is_test=False) -> Image:
    uids = [f"1.2.3.{number}.{level}" for level in range(3)]
    return Image(f"{number:08x}-0000-4000-8000-000000000000", *uids, kind, boxes, f"{number:08d}_000.png", is_test)


@pytest.fixture
def small(tmp_path) -> Path:
    """Tables of four images, without pixels."""
    images = [
        image(1, OPACITY, (1.5, 2, 30.25, 40), (100, 2, 30, 40)),
        image(2, NORMAL),
        image(3, NOT_NORMAL),
        image(4, OPACITY, (1, 2, 3, 4), is_test=True),
    ]
    return export_of(images, tmp_path / "small")


def edit(folder: Path, change, name: str = ADJUDICATED) -> None:
    content = json.loads((folder / name).read_text())
    replaced = change(content)
    (folder / name).write_text(json.dumps(content if replaced is None else replaced))


def calculated(project: dict, image_number: int) -> list[dict]:
    """The consensus annotations of an image."""
    uid = f"1.2.3.{image_number}.2"
    annotations = project["datasets"][0]["annotations"]
    return [each for each in annotations if each["SOPInstanceUID"] == uid and each["labelId"].startswith("L_4")]


def test_boxes_keep_all_their_digits(small):
    study = study_table(open_competition(small)).set_index("patientId")
    assert study["class"].tolist() == ["opacity", "normal", "not_normal"]
    assert study["boxes"].iloc[0].tolist() == [[1.5, 2, 30.25, 40], [100, 2, 30, 40]]


def test_a_consensus_of_the_whole_study_is_of_its_image(small):
    def without_image(project):
        (each,) = calculated(project, 2)
        del each["SOPInstanceUID"], each["SeriesInstanceUID"]

    expected = open_competition(small).labels.read_bytes()
    edit(small, without_image)
    assert open_competition(small).labels.read_bytes() == expected


def test_names_may_end_in_spaces_and_a_box_may_be_repeated(small):
    def change(project):
        for group in project["labelGroups"]:
            group["name"] += " "
            for label in group["labels"]:
                label["name"] += "  "
        project["datasets"][0]["annotations"] += [calculated(project, 1)[0], calculated(project, 2)[0]]

    expected = open_competition(small).labels.read_bytes()
    edit(small, change)
    (small / ADJUDICATED).write_bytes(b"\xef\xbb\xbf" + (small / ADJUDICATED).read_bytes())
    assert open_competition(small).labels.read_bytes() == expected


def no_box(project):
    calculated(project, 1)[0]["data"] = None


def flat_box(project):
    calculated(project, 1)[0]["data"]["width"] = 0


def two_classes(project):
    project["datasets"][0]["annotations"] += [
        calculated(project, 1)[0] | {"labelId": calculated(project, 2)[0]["labelId"]}
    ]


def no_consensus(project):
    project["labelGroups"] = [group for group in project["labelGroups"] if group["name"] != "Calculated"]


def other_class(project):
    project["labelGroups"][4]["labels"][2]["name"] = "Maybe"


def unknown_study(project):
    calculated(project, 2)[0] |= {"SOPInstanceUID": None, "StudyInstanceUID": "9.9.9.9"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_box, "annotation A_000000 is an opacity of 1.2.3.1.2 without a box"),
        (flat_box, "without a box: x, y and a positive width and height in pixels"),
        (two_classes, "is Normal of 1.2.3.1.2, which is Lung Opacity too"),
        (no_consensus, "has no label group 'Calculated'"),
        (other_class, "has the label 'Maybe', which is none of the competition's classes"),
        (unknown_study, "names no image, and its study '9.9.9.9' is not known"),
        (lambda project: [], "has no labelGroups and datasets"),
        (lambda project: {"labelGroups": [{}], "datasets": [{}]}, "lack 'labels'"),
        (lambda project: project["datasets"][0]["annotations"].append({"a": 1}), "has no labelId"),
    ],
)
def test_faulty_annotations_are_named(small, change, says, capsys):
    edit(small, change)
    code, result = result_of(capsys, "check", f"data={small}")
    assert code == 2 and says in result["faults"][0]["what"]
    assert result["faults"][0]["file"] == str(small / ADJUDICATED)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{", b"[" * 100_000])
def test_a_file_that_is_not_json(small, content):
    (small / ADJUDICATED).write_bytes(content)
    with pytest.raises(BadInput, match=ADJUDICATED):
        open_competition(small)


def test_one_kaggle_id_for_two_images_is_refused(small):
    edit(small, lambda mapping: mapping[1].update(subset_img_id=mapping[0]["subset_img_id"]), MAPPINGS)
    with pytest.raises(BadInput, match=r"is the image 1\.2\.3\.1\.2 and the image 1\.2\.3\.2\.2 \(object 2\)"):
        open_competition(small)


def test_a_large_export_is_held_once(tmp_path):
    folder = export_of(draw_images(3_000, 300), tmp_path / "large")
    size = (folder / ADJUDICATED).stat().st_size
    tracemalloc.start()
    try:
        export = read_export(folder / ADJUDICATED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(export.annotations) > 6_000
    assert peak < 2.1 * size  # the text, and what is kept; a second copy of the text would be 2.8


# ------------------------------------------------------------------ Kaggle's tables beside it, and the readers


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
        dataclasses.replace(image(number, kind, *boxes[name]), patient_id=name, nih_image=nih.get(name, ""))
        for number, (name, kind) in enumerate(classes.items())
    ]
    test = [row["patientId"] for row in rows_of(tables / SAMPLE)]
    images += [
        dataclasses.replace(image(number, NORMAL, is_test=True), patient_id=name)
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
