"""NIH ChestX-ray14 as a folder on disk: labels, people left out, faults named."""

import cv2
import numpy as np
import pytest

from pneumonia import config
from pneumonia.data.labels import NIH
from pneumonia.data.nih import nih_samples
from pneumonia.system.errors import BadInput

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
ROWS = (
    "00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA\n"
    "00000001_001.png,No Finding,1,1,59,M,PA\n"
    "00000002_000.png,Pneumonia,0,00002,81,F,AP\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "REPOSITORY", tmp_path / "repository")
    root = tmp_path / "nih"
    (root / "images_001" / "images").mkdir(parents=True)
    (root / "Data_Entry_2017_v2020.csv").write_text(HEADER + ROWS)
    for number, name in enumerate(("00000001_000", "00000001_001", "00000002_000")):
        image = np.full((32, 32), 50 * (number + 1), np.uint8)
        cv2.imwrite(str(root / "images_001" / "images" / f"{name}.png"), image)
    return root


def test_labels_people_and_pixels(folder):
    samples, people = nih_samples(folder, 16, without=())
    assert samples.ids.tolist() == ["00000001_000.png", "00000001_001.png", "00000002_000.png"]
    assert people.tolist() == ["1", "1", "2"]
    found = [[label for label, yes in zip(NIH.names, row) if yes] for row in samples.classes]
    assert found == [["Cardiomegaly", "Emphysema"], [], ["Pneumonia"]]
    assert samples.images.shape == (3, 16, 16) and samples.images[2].mean() == 150
    assert samples.positive.tolist() == [True, False, True]
    again, _ = nih_samples(folder, 16, without=())
    assert np.array_equal(again.images, samples.images)


def test_people_of_the_held_out_fold_are_left_out(folder):
    samples, people = nih_samples(folder, 16, without={"1"})
    assert people.tolist() == ["2"] and samples.images[0].mean() == 150
    with pytest.raises(BadInput, match="has only people who are excluded"):
        nih_samples(folder, 16, without={"1", "2"})


def test_bad_rows_and_missing_images_are_named(folder):
    table = folder / "Data_Entry_2017_v2020.csv"
    table.write_text(HEADER + ROWS + "00000003_000.png,Pneumonia,0,3,8,F,AP\n")
    with pytest.raises(BadInput, match=r"v2020\.csv:5: 00000003_000\.png is not below"):
        nih_samples(folder, 16, without=())
    table.write_text(HEADER + ROWS + "00000003_000.png,Pnumonia,0,3,8,F,AP\n00000004_000.png\n")
    with pytest.raises(BadInput) as caught:
        nih_samples(folder, 16, without=())
    assert [fault.row for fault in caught.value.faults] == [5, 6]
    table.write_text("a,b\n")
    with pytest.raises(BadInput, match="Image Index"):
        nih_samples(folder, 16, without=())
    table.unlink()
    with pytest.raises(BadInput, match=r"Data_Entry_2017_v2020\.csv"):
        nih_samples(folder, 16, without=())
