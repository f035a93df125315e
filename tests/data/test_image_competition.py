"""A competition whose images are PNG or JPEG files: the same as with DICOMs of the same pixels, but for the headers."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.encaps import get_frame
from pydicom.uid import ExplicitVRLittleEndian

from pneumonia import cli, config
from pneumonia.data import check, ingest
from pneumonia.data.competition import open_competition
from pneumonia.data.headers import read_headers
from pneumonia.data.study_table import study_table
from pneumonia.demo.competition import generate
from pneumonia.system.errors import BadInput

SAMPLE = "stage_2_sample_submission.csv"
KINDS = ("dicom", "raw", "png", "jpg")


def converted(dicom: Path, kind: str) -> None:
    """Replace a DICOM by the same pixels: uncompressed, as PNG, or as the JPEG that it holds."""
    dataset = pydicom.dcmread(dicom)
    if kind == "jpg":
        dicom.with_suffix(".jpg").write_bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))
    elif kind == "png":
        cv2.imwrite(str(dicom.with_suffix(".png")), dataset.pixel_array)
    if kind == "raw":
        pixels = dataset.pixel_array
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(dicom)
    elif kind != "dicom":
        dicom.unlink()


@pytest.fixture(scope="module")
def competitions(tmp_path_factory) -> dict[str, Path]:
    """{kind: folder} of the same small competition in every kind of image."""
    root = tmp_path_factory.mktemp("competitions")
    generate(root / "dicom", train_images=24, test_images=2, seed=3, workers=1)
    for kind in KINDS[1:]:
        shutil.copytree(root / "dicom", root / kind)
        for dicom in (root / kind).glob("stage_2_*_images/*.dcm"):
            converted(dicom, kind)
    return {kind: root / kind for kind in KINDS}


def result_of(capsys, *words) -> tuple[int, dict]:
    code = cli.main([*map(str, words), "json=true"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_the_cache_has_the_same_bits(competitions, tmp_path, size):
    """Of a DICOM's JPEG frame and the same JPEG as a file, and of the same pixels uncompressed and as PNG."""
    caches = {
        kind: ingest.ingest(open_competition(folder), size, 1, tmp_path / kind) for kind, folder in competitions.items()
    }
    for one, other in (("dicom", "jpg"), ("raw", "png")):
        np.testing.assert_array_equal(caches[one].pixels, caches[other].pixels)
        columns = ["patientId", "split", "rows", "columns"]
        assert caches[one].index[columns].equals(caches[other].index[columns])
    index = caches["png"].index
    assert (index["sex"] == "").all() and (index["view"] == "").all() and index["age"].isna().all()


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_check_finds_nothing_and_no_header_is_known(competitions, capsys, kind):
    code, result = result_of(capsys, "check", f"data={competitions[kind]}", "workers=1")
    assert code == 0 and result["faults"] == [] and result["warnings"] == []
    competition = open_competition(competitions[kind])
    study = study_table(competition, header=read_headers(competition, workers=1))
    assert study[["sex", "age", "view"]].isna().all(axis=None) and len(study) == 24


def test_a_table_of_headers_says_what_pngs_do_not(competitions, tmp_path):
    reference = open_competition(competitions["dicom"])
    headers = read_headers(reference, workers=1)
    headers.to_csv(tmp_path / "headers.csv", index=False)
    competition = open_competition(competitions["png"])
    described = study_table(competition, header=read_headers(competition, tmp_path / "headers.csv"))
    expected = study_table(reference, header=headers)
    for column in ("patientId", "sex", "age", "view"):
        assert described[column].fillna("").tolist() == expected[column].fillna("").tolist()


def test_ingest_and_folds_by_the_command_line(competitions, tmp_path, capsys, monkeypatch):
    code, result = result_of(
        capsys, "ingest", f"data={competitions['png']}", "image_size=64", "workers=1", f"out={tmp_path / 'cache'}"
    )
    assert code == 0 and result["images"] == 26
    tables = {}
    for kind in ("dicom", "png"):
        code, result = result_of(
            capsys, "folds", f"data={competitions[kind]}", "n_folds=3", "workers=1", f"out={tmp_path / kind}.csv"
        )
        assert code == 0 and result["leaking_people"] == 0
        tables[kind] = Path(result["file"]).read_text()
    assert tables["png"].splitlines()[0] == tables["dicom"].splitlines()[0] and len(tables["png"].splitlines()) == 25


def test_kinds_may_be_mixed_and_two_files_of_one_image_are_refused(competitions, tmp_path, capsys):
    shutil.copytree(competitions["dicom"], tmp_path / "mixed")
    train = tmp_path / "mixed" / "stage_2_train_images"
    one, two, three = sorted(train.glob("*.dcm"))[:3]
    converted(one, "png")
    converted(two, "jpg")
    three.rename(three.with_suffix(""))
    (train / f"._{one.stem}.png").write_bytes(b"of a Mac")
    (train / ".DS_Store").write_bytes(b"of a Mac")
    code, result = result_of(capsys, "check", f"data={tmp_path / 'mixed'}", "workers=1")
    assert (code, result["faults"], result["warnings"]) == (0, [], [])
    (train / f"{two.stem}.png").write_bytes(one.with_suffix(".png").read_bytes())
    code, result = result_of(capsys, "check", f"data={tmp_path / 'mixed'}", "workers=1")
    assert code == 2
    assert [(fault["code"], Path(fault["file"]).name) for fault in result["faults"]] == [
        ("two-files", f"{two.stem}.png")
    ]
    competition = open_competition(tmp_path / "mixed")
    for refuse in (check.refuse_faults, lambda each: read_headers(each, workers=1)):
        with pytest.raises(BadInput, match="is a second file of image"):
            refuse(competition)


def test_damaged_and_missing_pngs_are_faults_like_any(competitions, tmp_path, capsys):
    shutil.copytree(competitions["png"], tmp_path / "copy")
    one, two = sorted((tmp_path / "copy" / "stage_2_train_images").glob("*.png"))[:2]
    one.write_bytes(one.read_bytes()[:-100])
    two.unlink()
    code, result = result_of(capsys, "check", f"data={tmp_path / 'copy'}", "workers=1")
    assert code == 2
    faults = {fault["code"]: fault for fault in result["faults"]}
    assert set(faults) == {"no-image", "pixels"}
    assert faults["pixels"]["file"] == str(one) and "damaged PNG" in faults["pixels"]["what"]
    assert faults["no-image"]["what"] == f"there is no stage_2_train_images/{two.name}"


def test_the_zip_of_a_png_competition(competitions, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    with zipfile.ZipFile(tmp_path / "rsna.zip", "w") as archive:
        for path in competitions["png"].rglob("*"):
            archive.write(path, path.relative_to(competitions["png"]))
    competition = open_competition(tmp_path / "rsna.zip")
    assert len(competition.train_images) == 24 and len(competition.test_images) == 2
    assert competition.content_key == open_competition(competitions["png"]).content_key


def test_sizes_come_from_the_files(competitions):
    competition = open_competition(competitions["png"])
    image = next(iter(competition.train_images))
    assert competition.size_of(image) == (1024, 1024)
