"""The labels of the test images never enter a fit: every command that fits something refuses their rows by id."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from pneumonia import cli, config
from pneumonia.data.competition import open_competition
from pneumonia.data.final_test_set import find_test_rows, ids_of_test_set
from pneumonia.data.prepared import prepare
from pneumonia.data.study_table import study_table
from pneumonia.demo.competition import generate
from pneumonia.schema import Job
from pneumonia.system.errors import BadInput

LABELS, CLASSES, SAMPLE = (
    "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", "stage_2_sample_submission.csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("demo") / "rsna", train_images=12, test_images=3, seed=1, workers=1)


@pytest.fixture
def leaky(demo, tmp_path, monkeypatch) -> tuple[Path, str, int]:
    """A competition whose label table has a test image, with its file among the training images; the image, its row."""
    (tmp_path / "experiments").symlink_to(config.EXPERIMENTS)
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    folder = tmp_path / "leaky"
    shutil.copytree(demo, folder)
    with open(folder / "test_labels.csv") as file:
        row = next(row for row in csv.reader(file) if row[-1] == "0")
    shutil.copy(folder / "stage_2_test_images" / f"{row[0]}.dcm", folder / "stage_2_train_images")
    with open(folder / LABELS, "a") as file:
        file.write(",".join(row) + "\n")
    with open(folder / CLASSES, "a") as file:
        file.write(f"{row[0]},Normal\n")
    return folder, row[0], len((folder / LABELS).read_text().splitlines())


def fault_of(capsys, *words) -> dict:
    """The fault of kind test-image that a command line is refused with."""
    code = cli.main([*map(str, words), "json=true"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    faults = result["faults"] if "faults" in result else result["error"]
    (fault,) = [fault for fault in faults if fault["code"] == "test-image"]
    assert code == 2
    return fault


@pytest.mark.parametrize(
    "words",
    [
        ["check", "workers=1"],
        ["folds", "n_folds=2", "workers=1"],
        ["folds", "n_folds=2", "split=report", "workers=1"],
        ["eda", "workers=1"],
        ["train", "experiment=report/fcnn", "preset=smoke", "n_folds=2", "workers=1"],
        ["fold=0", "preset=smoke", "n_folds=2", "workers=1"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("known_by", ["sample", "test labels"])
def test_a_command_that_reads_a_competition_refuses_them(leaky, capsys, tmp_path, words, known_by):
    folder, image, row = leaky
    if known_by == "sample":
        (folder / "test_labels.csv").unlink()
    else:
        rows = (folder / SAMPLE).read_text().splitlines(keepends=True)
        (folder / SAMPLE).write_text("".join(line for line in rows if image not in line))
    out = [] if words[0] == "check" else [f"out={tmp_path / 'out'}"]  # check writes nothing
    fault = fault_of(capsys, *words, f"data={folder}", *out)
    assert (fault["file"], fault["row"]) == (str(folder / LABELS), row)
    assert fault["what"] == f"{image} is an image of the test set"
    assert not (tmp_path / "out").exists()


def test_the_study_table_and_what_runs_are_prepared_from(leaky):
    """Whoever calls the library, not a command."""
    folder, image, _ = leaky
    competition = open_competition(folder)
    for read in (study_table, lambda each: prepare(Job(data=str(folder), preset="smoke"), each, [256])):
        with pytest.raises(BadInput, match=f"{image} is an image of the test set"):
            read(competition)


def test_a_holdout_of_test_images_is_refused(demo, capsys, tmp_path):
    code = cli.main(["folds", f"data={demo}", f"holdout={demo / SAMPLE}", "workers=1", f"out={tmp_path / 'f.csv'}"])
    assert code == 2 and "3 of its ids are not in the label table" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["folds", "train"])
def test_a_published_split_does_not_train_on_them(demo, capsys, tmp_path, command):
    ids = sorted(path.stem for path in (demo / "stage_2_train_images").iterdir())
    test = (demo / SAMPLE).read_text().splitlines()[1].split(",")[0]
    rows = [f"{name},{'val' if row < 3 else 'train'}" for row, name in enumerate([*ids, test])]
    (tmp_path / "split.csv").write_text("\n".join(["patientId,split", *rows]))
    words = ["experiment=report/fcnn", "preset=smoke"] if command == "train" else []
    fault = fault_of(capsys, command, *words, f"data={demo}", f"split={tmp_path / 'split.csv'}", "workers=1")
    assert fault["file"] == str(tmp_path / "split.csv") and test in fault["what"]


def members(folder: Path, ids: list[str]) -> list[str]:
    files = []
    for name in ("a", "b"):
        rows = "".join(f"{image},0.{number + 3} 10 10 200 200\n" for number, image in enumerate(ids))
        (folder / f"{name}.csv").write_text("patientId,PredictionString\n" + rows)
        files.append(str(folder / f"{name}.csv"))
    return files


@pytest.mark.parametrize("known_by", ["sample beside", "test_ids="])
def test_an_ensemble_is_not_fitted_on_them(leaky, capsys, tmp_path, known_by):
    folder, image, row = leaky
    ids = [line.split(",")[0] for line in (folder / LABELS).read_text().splitlines()[1:]]
    words = [f"members=[{','.join(members(tmp_path, sorted(set(ids))))}]", "trials=1", "draws=0"]
    labels = folder / LABELS
    if known_by == "test_ids=":
        (tmp_path / "ids.txt").write_text(f"stage_2_test_images/{image}.dcm\n")
        labels = Path(shutil.copy(labels, tmp_path / "labels.csv"))
        words.append(f"test_ids={tmp_path / 'ids.txt'}")
    fault = fault_of(capsys, "ensemble", *words, f"labels={labels}", f"out={tmp_path / 'out'}")
    assert (fault["file"], fault["row"]) == (str(labels), row)
    assert not (tmp_path / "out").exists()


def test_the_table_of_their_labels_fits_nothing(demo, capsys, tmp_path):
    ids = [line.split(",")[0] for line in (demo / SAMPLE).read_text().splitlines()[1:]]
    words = [f"members=[{','.join(members(tmp_path, ids))}]", f"labels={demo / 'test_labels.csv'}"]
    code = cli.main(["ensemble", *words, f"out={tmp_path / 'out'}"])
    assert code == 2 and "is an image of the test set" in capsys.readouterr().err


def test_a_recipe_is_not_tuned_on_them(demo, capsys, tmp_path):
    """tune_on= fits shrink and threshold on a list of images."""
    ids = [path.stem for path in (demo / "stage_2_train_images").iterdir()]
    test = (demo / SAMPLE).read_text().splitlines()[1].split(",")[0]
    (tmp_path / "tune.txt").write_text("\n".join([*ids[:4], test]))
    words = [f"members=[{','.join(members(tmp_path, ids))}]", f"labels={demo / LABELS}"]
    fault = fault_of(capsys, "ensemble", *words, f"tune_on={tmp_path / 'tune.txt'}", f"out={tmp_path / 'out'}")
    assert fault["file"] == str(tmp_path / "tune.txt") and test in fault["what"]


def test_a_test_image_is_known_in_every_spelling(tmp_path):
    uuid = "0004cfab-14fd-4e49-80ba-63a80b6bddd6"
    (tmp_path / "ids.txt").write_text(f"patientId\n{uuid.upper()}\nimg 1\ns1/IM1\na.png\n")
    listed = ids_of_test_set(tmp_path / "labels.csv", tmp_path / "ids.txt")
    rows = [(name, 2) for name in (uuid, uuid.upper(), f"p_{uuid}", "img 1", "s1/IM1", "a.png", "another")]
    assert len(find_test_rows(rows, listed, tmp_path / "labels.csv")) == len(rows) - 1
