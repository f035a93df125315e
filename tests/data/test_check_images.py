"""`check` compares the tables with the images that are there; here on a small synthetic competition."""

import json
import os
from pathlib import Path

import pydicom
import pytest

from pneumonia import cli
from pneumonia.data import check
from pneumonia.data.competition import open_competition
from pneumonia.demo.competition import generate
from pneumonia.system.errors import BadInput

LABELS, CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
SAMPLE = "stage_2_sample_submission.csv"
ELSEWHERE = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"  # no image of the competition


def places_of_faults(capsys, folder: Path) -> list[tuple[str, str, int | None]]:
    """Code, file name and row of what `check` finds; its exit code must fit, and it must add and remove no file."""
    before = sorted(folder.rglob("*"))
    code = cli.main(["check", f"data={folder}", "json=true"])
    faults = json.loads(capsys.readouterr().out.splitlines()[-1])["faults"]
    assert code == (2 if faults else 0)
    assert sorted(folder.rglob("*")) == before
    return [(fault["code"], Path(fault["file"]).name, fault["row"]) for fault in faults]


@pytest.fixture(scope="module")
def competition(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("demo") / "small", train_images=6, test_images=2, seed=3, workers=1)


@pytest.fixture
def copy(competition, tmp_path) -> Path:
    """A copy of the small competition; the images are links, so that only their names are the test's own."""
    for path in sorted(competition.rglob("*")):
        target = tmp_path / "copy" / path.relative_to(competition)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path) if path.suffix == ".dcm" else target.write_bytes(path.read_bytes())
    return tmp_path / "copy"


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_sound_competition_has_no_faults(competition, capsys):
    assert places_of_faults(capsys, competition) == []
    check.refuse_faults(open_competition(competition))


def test_label_without_image(copy, capsys):
    image = lines_of(copy / LABELS)[1].split(",")[0]
    (copy / "stage_2_train_images" / f"{image}.dcm").unlink()
    assert places_of_faults(capsys, copy) == [("no-image", LABELS, 2)]
    with pytest.raises(BadInput, match="there is no stage_2_train_images"):
        check.refuse_faults(open_competition(copy))


def test_image_without_label(copy, capsys):
    *lines, last = lines_of(copy / LABELS)
    image = last.split(",")[0]
    (copy / LABELS).write_text("\n".join(line for line in lines if image not in line) + "\n")
    classes = [line for line in lines_of(copy / CLASSES) if image not in line]
    (copy / CLASSES).write_text("\n".join(classes) + "\n")
    assert places_of_faults(capsys, copy) == [("no-label", f"{image}.dcm", None)]


def test_fault_of_the_test_labels(copy, capsys):
    lines = [*lines_of(copy / "test_labels.csv"), f"{ELSEWHERE},1,2,3,4,0"]
    (copy / "test_labels.csv").write_text("\n".join(lines) + "\n")
    assert places_of_faults(capsys, copy) == [("box-without-target", "test_labels.csv", len(lines))]


def test_sample_against_the_test_images(copy, capsys):
    header, first, second = lines_of(copy / SAMPLE)
    (copy / SAMPLE).write_text("\n".join([header, first, f"{ELSEWHERE},"]) + "\n")
    image = second.split(",")[0]
    assert places_of_faults(capsys, copy) == [("no-image", SAMPLE, 3), ("no-label", f"{image}.dcm", None)]


def test_damaged_dicom_comes_with_the_faults_of_the_tables(copy, capsys):
    path = max((copy / "stage_2_train_images").iterdir())
    path.unlink()
    path.write_bytes(b"no DICOM")
    (copy / SAMPLE).unlink()
    (table, image) = places_of_faults(capsys, copy)
    assert table == ("missing", SAMPLE, None)
    assert image[1] == path.name


def test_image_in_both_folders(copy, capsys):
    train = min((copy / "stage_2_train_images").iterdir())
    (copy / "stage_2_test_images" / train.name).hardlink_to(train)
    codes = {code for code, _, _ in places_of_faults(capsys, copy)}
    assert codes == {"no-label", "train-and-test"}


def test_folder_without_test_images(copy, capsys):
    for path in (copy / "stage_2_test_images").iterdir():
        path.unlink()
    assert places_of_faults(capsys, copy) == [("no-images", "stage_2_test_images", None)]


def test_frame_of_a_box_is_its_images_own(copy, capsys):
    """An image of 512 x 600 pixels: a box that 1024 x 1024 would hold leaves it."""
    number, row = next((n, line) for n, line in enumerate(lines_of(copy / LABELS), 1) if line.endswith(",1"))
    path = copy / "stage_2_train_images" / f"{row.split(',')[0]}.dcm"
    header = pydicom.dcmread(path)
    header.Rows, header.Columns = 512, 600
    path.unlink()
    header.save_as(path)
    lines = lines_of(copy / LABELS)
    lines[number - 1] = f"{path.stem},550,10,60,70,1"
    (copy / LABELS).write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match="exceeds the image's 600 x 512 pixels"):
        check.refuse_faults(open_competition(copy))


@pytest.mark.skipif("RSNA_MINI" not in os.environ, reason="needs the real images")
def test_real_images_have_no_faults(capsys):
    assert places_of_faults(capsys, Path(os.environ["RSNA_MINI"])) == []
