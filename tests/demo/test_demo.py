"""The demo competition: real files, as another program reads them."""

import importlib.util
import json
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from pneumonia.demo import competition as phantom
from pneumonia.demo.radiograph import radiograph
from pneumonia.demo.regions import BOX_COUNTS
from pneumonia.system.errors import BadInput, EnvironmentFailure

REPOSITORY = Path(__file__).resolve().parents[2]
TRAIN, TEST = 60, 12


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return phantom.generate(tmp_path_factory.mktemp("phantom") / "demo", TRAIN, TEST, seed=5, workers=1)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def header(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "62" for an age, as the competition writes it
        return pydicom.dcmread(path)


def test_files_are_the_competitions_format(demo):
    paths = sorted(demo.glob("stage_2_*_images/*.dcm"))
    assert len(paths) == TRAIN + TEST
    for path in paths[:12]:
        file = header(path)
        assert file.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        assert file["PixelData"].is_undefined_length
        assert path.name == f"{file.PatientID}.dcm" and file.PatientID == str(file.PatientName)
        assert file.PatientID == file.PatientID.lower() and len(file.PatientID) == 36
        assert (file.Rows, file.Columns, file.BitsAllocated, file.BitsStored, file.HighBit) == (1024, 1024, 8, 8, 7)
        assert (file.SamplesPerPixel, file.PixelRepresentation) == (1, 0)
        assert (file.PhotometricInterpretation, file.Modality) == ("MONOCHROME2", "CR")
        assert file.ViewPosition in ("AP", "PA") and file.SeriesDescription == f"view: {file.ViewPosition}"
        assert file.PatientSex in ("F", "M") and 1 <= int(file.PatientAge) <= 100
        assert file.PixelSpacing[0] == file.PixelSpacing[1] and 0.1 < file.PixelSpacing[0] < 0.2
        pixels = file.pixel_array
        assert pixels.shape == (1024, 1024) and pixels.dtype == np.uint8
        assert pixels.std() > 30 and 60 < pixels.mean() < 180


def test_tables_agree_with_each_other_and_with_the_files(demo):
    labels = pd.read_csv(demo / "stage_2_train_labels.csv")
    test_labels = pd.read_csv(demo / "test_labels.csv")
    classes = pd.read_csv(demo / "stage_2_detailed_class_info.csv")
    sample = pd.read_csv(demo / "stage_2_sample_submission.csv")
    mapping = pd.read_csv(demo / "mapping.csv")

    assert list(labels) == list(test_labels) == ["patientId", "x", "y", "width", "height", "Target"]
    assert list(classes) == ["patientId", "class"] and list(sample) == ["patientId", "PredictionString"]
    for table, part, count in ((labels, "train", TRAIN), (test_labels, "test", TEST)):
        files = {path.stem for path in (demo / f"stage_2_{part}_images").iterdir()}
        assert set(table.patientId) == files and len(files) == count
        assert (table.Target == table.width.notna()).all()
        negative = table[table.Target == 0]
        assert negative.patientId.is_unique and negative[["x", "y", "width", "height"]].isna().all(axis=None)
        boxes = table[table.Target == 1]
        assert (boxes[["x", "y"]] >= 0).all(axis=None) and (boxes[["width", "height"]] >= 56).all(axis=None)
        assert (boxes.x + boxes.width <= 1024).all() and (boxes.y + boxes.height <= 1024).all()
    assert classes.patientId.tolist() == labels.patientId.tolist()
    assert ((classes["class"] == "Lung Opacity") == (labels.Target == 1)).all()
    assert set(classes["class"]) == {"Lung Opacity", "Normal", "No Lung Opacity / Not Normal"}
    assert sample.patientId.tolist() == list(dict.fromkeys(test_labels.patientId))
    assert set(sample.PredictionString) == {"0.5 0 0 100 100"}

    assert mapping.patientId.is_unique and mapping.nih_image.is_unique
    assert set(mapping.patientId) == set(labels.patientId) | set(test_labels.patientId)
    assert (mapping.nih_image.str[:8].astype(int) == mapping.nih_patient).all()
    people = mapping.set_index("patientId").nih_patient
    assert not set(people[labels.patientId]) & set(people[test_labels.patientId])
    assert people.value_counts().max() > 1


def test_images_of_a_person_share_sex_and_nearly_age(demo):
    mapping = pd.read_csv(demo / "mapping.csv")
    for _, images in mapping.groupby("nih_patient"):
        headers = [header(next(demo.glob(f"*/{name}.dcm"))) for name in images.patientId]
        assert len({file.PatientSex for file in headers}) == 1
        ages = [int(file.PatientAge) for file in headers]
        assert max(ages) - min(ages) <= 1


def test_bytes_do_not_depend_on_the_workers_but_on_the_seed(demo, tmp_path):
    again = phantom.generate(tmp_path / "again", TRAIN, TEST, seed=5, workers=2)
    assert content(again) == content(demo)
    other = phantom.generate(tmp_path / "other", 4, 1, seed=6, workers=1)
    assert not {path.name for path in other.rglob("*.dcm")} & {path.name for path in demo.rglob("*.dcm")}


def test_the_same_demo_is_reused_another_replaces_it_and_strangers_are_left_alone(tmp_path):
    folder = phantom.generate(tmp_path / "demo", 3, 1, seed=1, workers=1)
    inode = folder.stat().st_ino
    assert phantom.generate(folder, 3, 1, seed=1).stat().st_ino == inode
    first = content(folder)
    phantom.generate(folder, 3, 1, seed=2, workers=1)
    assert json.loads((folder / "phantom.json").read_text())["seed"] == 2
    assert content(folder).keys() != first.keys()
    stranger = tmp_path / "photographs"
    stranger.mkdir()
    (stranger / "holiday.txt").write_text("mine")
    with pytest.raises(BadInput, match="not a demo competition"):
        phantom.generate(stranger, 3, 1)
    assert (stranger / "holiday.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["demo", "photographs"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(phantom, "write_dicom", disk_full)
    with pytest.raises(EnvironmentFailure, match=r"demo: the disk is full; free space and run it again"):
        phantom.generate(tmp_path / "demo", 3, 1, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == [".demo.lock"]


def test_two_processes_may_make_the_same_demo_at_once(tmp_path):
    program = (
        "import sys; from pneumonia.demo import competition as phantom\n"
        "if __name__ == '__main__': print(phantom.generate(sys.argv[1], 6, 2, workers=1))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "demo")]
    environment = {"PYTHONPATH": str(REPOSITORY / "src"), "PATH": ""}
    runs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate(timeout=120)[0].strip() for run in runs] == [str(tmp_path / "demo")] * 2
    assert [run.returncode for run in runs] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".demo.lock", "demo"]
    assert len(list((tmp_path / "demo").rglob("*.dcm"))) == 8


def test_plan_has_the_shares_and_the_people_of_the_real_tables():
    images = [image for image in phantom.plan(phantom.DemoSettings(4000, 10)) if image.part == "train"]
    shares = Counter(image.kind for image in images)
    assert {kind: round(count / 4000, 3) for kind, count in shares.items()} == phantom.SHARES
    opacity_views = Counter(image.view for image in images if image.kind == "opacity")
    assert opacity_views["AP"] / shares["opacity"] == pytest.approx(phantom.AP_SHARES["opacity"], abs=0.05)

    table = pd.DataFrame({"person": [i.person_number for i in images], "y": [i.kind == "opacity" for i in images]})
    grouped = table.groupby("person").y
    assert len(table) / grouped.ngroups == pytest.approx(2.2, abs=0.2)
    others = (grouped.transform("sum") - table.y) / (grouped.transform("size") - 1).clip(lower=1)
    guess = others.where(grouped.transform("size") > 1, table.y.mean()).rank()
    positives = table.y.sum()
    auc = (guess[table.y].sum() - positives * (positives + 1) / 2) / (positives * (len(table) - positives))
    assert auc == pytest.approx(0.74, abs=0.04)  # all other images of the person; 0.725 from four folds of five


def test_radiograph_boxes_follow_the_real_statistics():
    boxes, counts = [], Counter()
    for i in range(90):
        pixels, found, _ = radiograph(np.random.default_rng([7, i]), "opacity", "AP")
        boxes.append(found)
        counts[len(found)] += 1
        assert pixels.shape == (1024, 1024) and pixels.dtype == np.uint8
    boxes = np.concatenate(boxes)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 1024).all()
    assert counts[1] / 90 == pytest.approx(BOX_COUNTS["AP"][0], abs=0.13)
    assert counts[2] / 90 == pytest.approx(BOX_COUNTS["AP"][1], abs=0.13)
    assert np.median(boxes[:, 2]) == pytest.approx(219, rel=0.12)  # real AP images: 219 x 327
    assert np.median(boxes[:, 3]) == pytest.approx(327, rel=0.20)
    assert np.median(boxes[:, 1] + boxes[:, 3] / 2) == pytest.approx(531, rel=0.08)


@pytest.mark.parametrize("kind", ["normal", "not_normal"])
@pytest.mark.parametrize("view", ["AP", "PA"])
def test_radiograph_without_opacity_has_no_boxes_and_repeats(kind, view):
    first, boxes, fields = radiograph(np.random.default_rng(3), kind, view)
    again, _, _ = radiograph(np.random.default_rng(3), kind, view)
    assert boxes.shape == (0, 4) and fields["ViewPosition"] == view
    assert np.array_equal(first, again)


def test_bright_regions_do_not_solve_the_demo(demo):
    """A small part of benchmarks/bright_region.py's search, with slack for few images (limits there: 0.10, 0.20)."""
    path = REPOSITORY / "benchmarks" / "bright_region.py"
    spec = importlib.util.spec_from_file_location("bright_region", path)
    bright_region = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = bright_region
    spec.loader.exec_module(bright_region)
    images, truths = bright_region.read(demo, TRAIN)
    search = bright_region.Search(images, truths)
    scores = [
        search.scores(bright_region.Setting(kind, 3.0, 0.12, quantile, least))
        for kind in bright_region.KINDS
        for quantile in (0.6, 0.75, 0.9)
        for least in (200, 800)
    ]
    overall, positives_only = np.max(scores, axis=0)
    assert 0.0 < overall < 0.15
    assert 0.0 < positives_only < 0.28
