"""RSNA's own release as data: the same competition as Kaggle's form of the same images, however it lies on the disk."""

import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from made_up_release import (
    ADJUDICATED,
    ARCHIVE,
    MAPPINGS,
    SAMPLE,
    result_of,
    rows_of,
)

from pneumonia.data.competition import open_competition
from pneumonia.data.formats.base import Given
from pneumonia.data.headers import read_headers
from pneumonia.data.image_files import read_image
from pneumonia.data.ingest import ingest
from pneumonia.data.study_table import study_table
from pneumonia.data.tables import read_labels
from pneumonia.system.errors import BadInput

pytestmark = pytest.mark.usefixtures("repository")


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
        out = [] if command == "check" else [f"out={tmp_path / 'out'}"]  # check writes nothing
        code, result = result_of(capsys, command, f"data={tmp_path / 'copy'}", *out)
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
