"""The score on the final test labels: of a finished submission, by `score`, in the leaderboard and in the main job."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_up_release import ADJUDICATED, MAPPINGS, SAMPLE, release_of

from pneumonia import cli, config, schema
from pneumonia.commands import folds_and_runs
from pneumonia.commands.leaderboard import leaderboard as leaderboard_command
from pneumonia.commands.main_job import main_job
from pneumonia.commands.score import score
from pneumonia.demo.competition import generate
from pneumonia.ensemble import leaderboard
from pneumonia.system.errors import BadInput


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("kaggle") / "rsna", train_images=40, test_images=8, seed=3, workers=1)


@pytest.fixture(scope="module")
def release(kaggle, tmp_path_factory) -> Path:
    return release_of(kaggle, tmp_path_factory.mktemp("release") / "rsna")[0]


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch) -> Path:
    """What is written goes to the test's own folder."""
    monkeypatch.setattr(config, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(leaderboard, "TABLE", tmp_path / "leaderboard.csv")
    return tmp_path / "repository"


def submission_of(kaggle: Path, file: Path, size: float = 1.0) -> Path:
    """The true boxes of the test images, their sides times `size`."""
    labels = pd.read_csv(kaggle / "test_labels.csv")
    rows: dict[str, str] = {}
    for row in labels.itertuples():
        box = f"0.9 {row.x} {row.y} {row.width * size} {row.height * size} " if row.Target else ""
        rows[row.patientId] = rows.get(row.patientId, "") + box
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("patientId,PredictionString\n" + "".join(f"{name},{text.strip()}\n" for name, text in rows.items()))
    return file


def final_score(submission: Path, release: Path, **settings) -> dict:
    return score(schema.Score(submission=str(submission), annotations=str(release / ADJUDICATED), **settings))


def test_it_is_the_score_on_kaggles_private_labels(kaggle, release, tmp_path, capsys):
    """The same as with a label table of the test images, and over the same people."""
    submission = submission_of(kaggle, tmp_path / "a.csv", 0.8)
    settings = {"labels": str(kaggle / "test_labels.csv"), "groups": str(kaggle / "mapping.csv")}
    expected = score(schema.Score(submission=str(submission), **settings))
    result = final_score(submission, release)
    assert [result[name] for name in ("final_score", "final_low", "final_high")] == [
        expected[name] for name in ("score", "low", "high")
    ]
    assert 0 < result["final_score"] < 1 and result["score"] == result["final_score"]
    said = capsys.readouterr().out
    assert "(final test labels); 1 submission of" in said
    assert final_score(submission_of(kaggle, tmp_path / "b.csv"), release)["final_score"] == 1.0


def test_only_a_whole_submission_of_the_test_images_has_one(kaggle, release, tmp_path):
    submission = submission_of(kaggle, tmp_path / "a.csv")
    rows = submission.read_text().splitlines()
    (tmp_path / "part.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(BadInput, match="1 labelled images are left out"):
        final_score(tmp_path / "part.csv", release)
    training = next((kaggle / "stage_2_train_images").iterdir()).stem
    (tmp_path / "more.csv").write_text("\n".join([*rows, f"{training},"]) + "\n")
    with pytest.raises(BadInput, match=f"{training} has no label in {ADJUDICATED}"):
        final_score(tmp_path / "more.csv", release)
    with pytest.raises(BadInput, match="are both given"):
        final_score(submission, release, labels=str(kaggle / "test_labels.csv"))
    assert not leaderboard.TABLE.with_name("final_looks.csv").exists()


def test_it_asks_for_what_tells_the_test_images_and_their_ids(kaggle, release, tmp_path):
    submission = submission_of(kaggle, tmp_path / "a.csv")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(release / ADJUDICATED, alone)
    with pytest.raises(BadInput, match=r"it says which images are the competition's test set; .* give test_ids="):
        final_score(submission, alone)
    with pytest.raises(BadInput, match="give mapping= RSNA's"):
        final_score(submission, alone, test_ids=str(release / SAMPLE))
    given = {"test_ids": str(release / SAMPLE), "groups": str(release / MAPPINGS)}
    assert final_score(submission, alone, **given)["final_score"] == 1.0


def test_the_leaderboard_counts_the_looks_of_a_family(kaggle, release, tmp_path, capsys, prediction_files):
    """A family's different submissions; the same one twice tells nothing new."""
    names = []
    for number, seed in enumerate((0, 1)):
        folder = tmp_path / f"made {number}"
        members = [str(prediction_files / f"{name}.csv") for name in "ab"]
        words = [f"members=[{','.join(members)}]", f"labels={prediction_files / 'labels.csv'}", f"seed={seed}"]
        assert cli.main(["ensemble", *words, "trials=1", "draws=10", f"out={folder}"]) == 0
        names.append(str(folder))
        submission_of(kaggle, folder / "submission.csv", 1.0 - number / 10)
    first, second = (Path(name) / "submission.csv" for name in names)
    assert final_score(first, release)["final_looks"] == 1
    assert final_score(first, release)["final_looks"] == 1
    result = final_score(second, release)
    assert (result["final_looks"], result["final_family"]) == (2, "a + b")
    capsys.readouterr()
    rows = {row["submission"]: row for row in leaderboard_command(schema.Leaderboard())["submissions"]}
    assert [rows[name]["final_looks"] for name in names] == [2, 2]
    assert float(rows[names[0]]["final_score"]) == 1.0
    assert float(rows[names[1]]["final_score"]) == pytest.approx(result["final_score"], abs=1e-6)
    assert rows[names[1]]["final_low"] and rows[names[1]]["final_high"]
    assert " 1.0000      2 " in capsys.readouterr().out
    first.write_text(first.read_text().replace("0.9", "0.8"))
    rows = {row["submission"]: row for row in leaderboard_command(schema.Leaderboard())["submissions"]}
    assert rows[names[0]]["final_score"] == "" and rows[names[0]]["final_looks"] == 2


@pytest.mark.slow
def test_a_release_and_kaggles_form_of_it_in_the_main_job(kaggle, release, tmp_path, monkeypatch, capsys):
    """The same submission, bit for bit, and the same scores: with the release as data, and with its annotations beside
    Kaggle's folder."""
    monkeypatch.setattr(config, "read_ensemble", lambda name: {"members": ["report/fcnn", "mobilenet_unet"]})
    monkeypatch.setattr(folds_and_runs, "REPOSITORY", tmp_path)
    shutil.copytree(kaggle, tmp_path / "rsna")
    (tmp_path / "rsna" / "test_labels.csv").unlink()  # only the demo has it
    jobs = {"release": {"data": str(release)}}
    jobs["kaggle"] = {"data": str(tmp_path / "rsna"), "annotations": str(release / ADJUDICATED)}
    made, results = {}, {}
    for name, settings in jobs.items():
        results[name] = main_job(schema.Job(**settings, preset="smoke", n_folds=2, out=str(tmp_path / name)))
        made[name] = (tmp_path / name / "submission.csv").read_bytes()
    assert made["release"] == made["kaggle"]
    for key in ("held_out_score", "final_score", "final_low", "final_high", "final_auc"):
        assert results["release"][key] == results["kaggle"][key]
    result = results["release"]
    assert 0 <= result["final_low"] <= result["final_score"] <= result["final_high"] <= 1
    assert 0 <= result["final_auc"]["low"] <= result["final_auc"]["value"]
    assert (result["final_family"], result["final_looks"]) == ("rsna demo", 1)
    labels = {"labels": str(kaggle / "test_labels.csv"), "groups": str(kaggle / "mapping.csv")}
    alone = score(schema.Score(submission=str(tmp_path / "release" / "submission.csv"), **labels))
    assert alone["score"] == result["final_score"]
    said = capsys.readouterr().out
    assert "final test labels" in said and "1 submission of rsna demo scored on them so far" in said
    page = (tmp_path / "release" / "report.html").read_text()
    for anchor in ("0.253 to 0.255", "0.215", "0.13 to 0.19", "0.9065 to 0.9093", "0.936"):
        assert anchor in page
    assert "Final test labels" in page and "Synthetic demo" not in page
    stored = json.loads((tmp_path / "release" / "result.json").read_text())
    assert stored["final_score"] == result["final_score"] and "test_score" not in stored
