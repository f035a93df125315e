"""`predict` by the command line, on runs that were never trained but are finished, and on files made here.

Whether a network is any good makes no difference to which images are found, refused and told apart, nor to their bits.
"""

import functools
import json
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pydicom
import pytest
import simplejpeg
from pydicom.uid import ExplicitVRLittleEndian

from pneumonia import cli, config, schema
from pneumonia.boxes.predictions import read_classes, read_detections
from pneumonia.data import ingest
from pneumonia.data.competition import open_competition
from pneumonia.data.radiographs import Radiographs
from pneumonia.data.samples import CachedImages
from pneumonia.demo.folder import demo_folder
from pneumonia.inference import network
from pneumonia.models.registry import family as family_of
from pneumonia.runs import checkpoint
from pneumonia.runs.run import Run

SIZE = 64
EXPERIMENTS = {
    "cnn": {"model": {"name": "cnn"}},
    "yolov8": {"model": {"name": "yolov8", "size": "xs"}, "min_score": 0.0, "max_boxes": 5},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """{family: folder of a finished run with the weights that it was built with}."""
    folders = {}
    for name, changes in EXPERIMENTS.items():
        settings = {"image_size": SIZE, "batch_size": 4, "tta": ["identity", "flip", "scale_0.875"], **changes}
        experiment = config.from_tree(schema.Experiment, settings, "the test")
        run = Run(tmp_path_factory.mktemp("runs") / name / "fold0")
        run.folder.mkdir(parents=True)
        run.begin(experiment, {"data": "none", "fold": 0})
        keras.utils.set_random_seed(0)
        family = family_of(experiment.model, SIZE, pretrained=False)
        checkpoint.write_weights(run.weights, family.build().variables)
        run.finish(family.kind, 0.0, {}, {})
        folders[name] = run.folder
    return folders


def pixels(seed: int, rows: int = 160, columns: int = 120, highest: int = 255) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 1, (rows, columns))
    noise = cv2.GaussianBlur(noise, (0, 0), 9)
    scaled = (noise - noise.min()) * (highest / np.ptp(noise))
    return scaled.astype(np.uint16 if highest > 255 else np.uint8)


def write_dicom(path: Path, array: np.ndarray | None, **elements) -> Path:
    """A DICOM image; without `array` one that has no pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3", "somebody"
    if array is not None:
        dataset.Rows, dataset.Columns = array.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        dataset.BitsAllocated = dataset.BitsStored = 8 * array.itemsize
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelData = array.tobytes()
        dataset["PixelData"].VR = "OW"
    dataset.update(elements)
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Seven images of six shapes and every kind, in two folders."""
    place = tmp_path / "images"
    for seed, name in enumerate(("a.dcm", "b.dicom", "c", "sub/a.dcm")):
        write_dicom(place / name, pixels(seed, 160 + 40 * seed, 200 - 20 * seed))
    cv2.imwrite(str(place / "d.png"), pixels(4, highest=4000))
    cv2.imwrite(str(place / "sub" / "e.png"), pixels(5))
    (place / "f.JPG").write_bytes(simplejpeg.encode_jpeg(pixels(6, 333, 221)[..., None], 90, "GRAY"))
    return place


network_of = functools.cache(network.network_of)  # building one takes ten times as long as predicting with it


@pytest.fixture
def predict(runs, tmp_path, capsys, monkeypatch):
    """Calls the command; returns its exit code, its JSON and what it says."""
    monkeypatch.setattr(network, "network_of", network_of)

    def call(images: Path, *words: str, run: str = "cnn", out: Path | None = None):
        out = out or tmp_path / "out.csv"
        code = cli.main(["predict", f"run={runs[run]}", f"images={images}", f"out={out}", "json=true", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out.splitlines()[-1]), said.err

    return call


def table_of(result: dict, run: str):
    return (read_classes if run == "cnn" else read_detections)(Path(result["table"]))


# ------------------------------------------------------------------ an image's bits


@pytest.mark.parametrize("run", EXPERIMENTS)
def test_an_image_alone_in_its_folder_and_in_another_order_has_the_same_bits(predict, folder, tmp_path, run):
    """Of ten pictures with three variants in batches of four, every image has its turn at other places of the batch."""

    def rows(images: Path) -> dict[str, list]:
        code, result, said = predict(images, run=run)
        assert code == 0, said
        table = table_of(result, run)
        if run == "cnn":
            return dict(zip(table.ids, table.opacity.tolist()))
        return {image: np.column_stack(table.image(row)).tolist() for row, image in enumerate(table.ids)}

    together = rows(folder)
    assert set(together) == {"a", "b", "c", "d", "f", "sub/a", "sub/e"} and len(set(map(str, together.values()))) == 7
    for name in ("a.dcm", "c", "d.png", "f.JPG"):
        ((_, alone),) = rows(folder / name).items()
        assert alone == together[Path(name).stem]
    assert {f"sub/{name}": value for name, value in rows(folder / "sub").items()} == {
        name: value for name, value in together.items() if name.startswith("sub/")
    }
    shutil.copytree(folder, tmp_path / "other")
    names = {"a.dcm": "z.dcm", "b.dicom": "y", "c": "A0", "d.png": "x.dat", "f.JPG": "B.jpeg"}
    for old, new in names.items():
        (tmp_path / "other" / old).rename(tmp_path / "other" / new)
    other = rows(tmp_path / "other")
    for old, new in {"a": "z", "b": "y", "c": "A0", "d": "x.dat", "f": "B", "sub/a": "sub/a", "sub/e": "sub/e"}.items():
        assert other[new] == together[old]


@pytest.mark.parametrize("size", [64, 224, 300])
def test_predicted_pixels_are_the_trained_ones_whatever_caches_are_there(tmp_path, monkeypatch, size):
    competition = open_competition(demo_folder("smoke"))
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    files = competition.test_images
    larger = ingest.ingest(competition, 700, 1)  # somebody's earlier work
    trained = CachedImages(ingest.ingest(competition, size, 1), list(files), size)
    images = Radiographs(files, [size, 512], tmp_path).images(size)
    assert larger.size == 1024 and images.sizes.tolist() == [[1024, 1024]] * len(files)
    for row in range(len(files)):
        np.testing.assert_array_equal(images.pixels[row], trained[row])


# ------------------------------------------------------------------ what is read, left out and refused


def test_every_kind_is_read_and_the_result_is_named(predict, folder):
    (folder / "._a.dcm").write_bytes(b"\0\5\x16\7")
    (folder / "notes.txt").write_text("of somebody")
    code, result, said = predict(folder)
    assert code == 0 and result["images"] == 7 and result["other_files"] == 1
    assert result["damaged"] == [] and result["without_pixels"] == [] and result["picture"] is None
    assert "left out: 1 files that are not images" in said
    assert set(table_of(result, "cnn").ids) == {"a", "b", "c", "d", "f", "sub/a", "sub/e"}


def test_a_single_file_of_any_kind_gets_a_picture_that_is_no_image_of_the_next_call(predict, folder):
    for name in ("d.png", "f.JPG", "c"):
        out = folder / "sub" / "table.csv"
        code, result, _ = predict(folder / name, run="yolov8", out=out)
        assert code == 0 and table_of(result, "yolov8").ids == (Path(name).stem,)
        assert cv2.imread(result["picture"]).shape == (1024, 1024, 3)
    assert Path(result["picture"]) == out.with_suffix(".jpg")
    code, result, _ = predict(folder / "sub", out=out)
    assert table_of(result, "cnn").ids == ("a", "e")


def test_dicoms_without_pixels_are_left_out_and_counted(predict, folder):
    write_dicom(folder / "pr.dcm", None, SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", Modality="PR")
    write_dicom(folder / "sub" / "sr", None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    write_dicom(folder / "DICOMDIR", None, SOPClassUID="1.2.840.10008.1.3.10")
    code, result, said = predict(folder)
    assert code == 0 and result["images"] == 7
    assert {Path(fault["file"]).name for fault in result["without_pixels"]} == {"pr.dcm", "sr", "DICOMDIR"}
    assert "left out: 3 DICOMs without pixels" in said
    code, result, said = predict(folder / "pr.dcm")
    assert code == 2 and "pr.dcm: is not an image (PR)" in said and len(said.splitlines()) == 1


def damage(folder: Path) -> list[Path]:
    """Five damaged images, each in its way; what they are called."""
    whole = (folder / "a.dcm").read_bytes()
    contents = {
        "cut.dcm": whole[: len(whole) // 2], "text.dcm": b"<html>", "cut.png": (folder / "d.png").read_bytes()[:-40],
        "sub/cut.jpg": (folder / "f.JPG").read_bytes()[:-1], "headless": whole[132:],
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(folder / name for name in contents)


def test_damaged_images_are_all_named_before_any_work(predict, folder, tmp_path, monkeypatch):
    names = damage(folder)
    monkeypatch.setattr(network, "network_of", None)  # calling it would be a defect
    code, result, said = predict(folder)
    assert code == 2 and not (tmp_path / "out.csv").exists()
    assert sorted(Path(fault["file"]) for fault in result["error"]) == names
    lines = said.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[:5]
    assert "7 other images can be read: skip_damaged=true predicts them" in lines[5] and len(lines) == 6


def test_damaged_images_are_left_out_where_that_is_asked_for(predict, folder):
    whole = predict(folder)
    bits = Path(whole[1]["table"]).read_bytes()
    names = damage(folder)
    code, result, said = predict(folder, "skip_damaged=true")
    assert code == 0 and result["images"] == 7
    assert sorted(Path(fault["file"]) for fault in result["damaged"]) == names
    assert "left out: 5 damaged images" in said and said.count("warning: ") == 5
    assert Path(result["table"]).read_bytes() == bits


@pytest.mark.parametrize("skip", ["false", "true"])
def test_where_nothing_can_be_predicted_that_is_said(predict, tmp_path, skip):
    skip = f"skip_damaged={skip}"
    (tmp_path / "empty").mkdir()
    code, _, said = predict(tmp_path / "empty", skip)
    assert code == 2 and "empty: is empty" in said
    (tmp_path / "empty" / "notes.txt").write_text("text")
    code, _, said = predict(tmp_path / "empty", skip)
    assert code == 2 and "has no image among 1 files" in said
    code, _, said = predict(tmp_path / "empty" / "notes.txt", skip)
    assert code == 2 and "notes.txt: is not a DICOM, PNG or JPEG image" in said
    code, _, said = predict(tmp_path / "nowhere", skip)
    assert code == 2 and "there is no such file or folder" in said
    (tmp_path / "empty" / "x.dcm").write_bytes(b"")
    code, result, _ = predict(tmp_path / "empty", skip)
    assert code == 2 and [Path(fault["file"]).name for fault in result["error"]] == ["x.dcm"]
