"""What `predict` reads: the same pixels as training has, each DICOM once, and none lost."""

import shutil

import numpy as np
import pytest

from pneumonia import config
from pneumonia.commands import predict as command
from pneumonia.commands.predict import Radiographs, dicoms_of
from pneumonia.data import ingest
from pneumonia.data.competition import open_competition
from pneumonia.data.dicom import read_scaled
from pneumonia.data.samples import CachedImages, Squares, read_at_size
from pneumonia.demo.folder import demo_folder
from pneumonia.system.errors import BadInput


@pytest.fixture(scope="module")
def images():
    """The demo's test images."""
    return dicoms_of(str(demo_folder("smoke") / "stage_2_test_images"))


@pytest.mark.parametrize("size", [64, 224, 300])
def test_predicted_pixels_are_the_trained_ones_whatever_caches_are_there(images, tmp_path, monkeypatch, size):
    competition = open_competition(demo_folder("smoke"))
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    larger = ingest.ingest(competition, 700, 1)  # somebody's earlier work
    trained = CachedImages(ingest.ingest(competition, size, 1), list(images), size)
    pixels, headers = Radiographs(images, tmp_path).squares(256 if size < 256 else 512)
    predicted = Squares(pixels, np.arange(len(pixels)), size)
    assert larger.size == 1024 and headers["rows"].tolist() == larger.index.iloc[-len(images) :]["rows"].tolist()
    for row, path in enumerate(images.values()):
        assert predicted[row].shape == (size, size)
        np.testing.assert_array_equal(predicted[row], trained[row])
        np.testing.assert_array_equal(read_at_size(path, size)[0], trained[row])


def test_each_dicom_is_read_once_for_all_models_of_a_size(images, tmp_path, monkeypatch):
    read = []

    def counting(path, size):
        read.append(path)
        return read_scaled(path, size)

    monkeypatch.setattr(command, "read_scaled", counting)
    radiographs = Radiographs(images, tmp_path)
    for _ in range(3):
        radiographs.squares(256)
    assert sorted(read) == sorted(images.values())


def test_two_files_of_one_name_are_refused_and_any_case_of_dcm_is_found(images, tmp_path):
    (tmp_path / "a").mkdir()
    source = next(iter(images.values()))
    shutil.copy(source, tmp_path / "x.DCM")
    assert list(dicoms_of(str(tmp_path))) == ["x"]
    shutil.copy(source, tmp_path / "a" / "x.dcm")
    with pytest.raises(BadInput, match="the same name"):
        dicoms_of(str(tmp_path))
