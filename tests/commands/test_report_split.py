"""The main job on splits that have no folds: the student report's own, and published ones."""

import pandas as pd
import pytest

from pneumonia import config, schema
from pneumonia.commands import folds_and_runs
from pneumonia.commands import main_job as pipeline
from pneumonia.commands.evaluate import evaluate
from pneumonia.data.competition import open_competition
from pneumonia.demo.folder import demo_folder
from pneumonia.reports.published_figures import published_split_section


@pytest.mark.slow
def test_the_main_job_trains_looks_and_scores_on_the_report_s_parts(tmp_path, monkeypatch):
    # two quick members in place of the default's three
    monkeypatch.setattr(config, "read_ensemble", lambda name: {"members": ["report/fcnn", "mobilenet_unet"]})
    monkeypatch.setattr(folds_and_runs, "REPOSITORY", tmp_path)
    job = schema.Job(data="demo", preset="smoke", split="report", out=str(tmp_path / "made"))
    result = pipeline.main_job(job)
    assert set(result["members"]) == {"report/fcnn", "mobilenet_unet"}
    assert 0 <= result["held_out_low"] <= result["held_out_score"] <= result["held_out_high"] <= 1
    runs = sorted((tmp_path / "runs").glob("*/**/fold-report"))
    assert len(runs) == 2
    for run in runs:
        held_out = pd.read_csv(run / "held_out.csv")
        assert len(held_out) == 6 and set(held_out["fold"]) == {"report"}  # a tenth of 60 images
    sample = pd.read_csv(config.REPOSITORY / "demo" / "smoke" / "stage_2_sample_submission.csv")
    submission = pd.read_csv(tmp_path / "made" / "submission.csv")
    assert submission["patientId"].tolist() == sample["patientId"].tolist()


@pytest.mark.slow
def test_the_main_job_scores_val_of_a_published_split_whose_test_images_have_no_labels(tmp_path, monkeypatch):
    """The demo's test images have labels in another table, as RSNA's final ones: they are scored at the end."""
    monkeypatch.setattr(config, "read_ensemble", lambda name: {"members": ["report/fcnn", "mobilenet_unet"]})
    monkeypatch.setattr(folds_and_runs, "REPOSITORY", tmp_path)
    competition = open_competition(demo_folder("smoke"))
    labels = pd.read_csv(competition.labels).drop_duplicates("patientId")
    rows = [f"stage_2_train_images/{row.patientId}.dcm {row.Target} " for row in labels.itertuples()]
    parts = {"train": rows[:40], "val": rows[40:58], "test": [f"x/{image}.dcm" for image in competition.test_images]}
    (tmp_path / "split").mkdir()
    for part, lines in parts.items():
        (tmp_path / "split" / f"{part}_list.txt").write_text("\n".join([*lines, ""]))
    job = schema.Job(data="demo", preset="smoke", split=str(tmp_path / "split"), out=str(tmp_path / "made"))
    result = pipeline.main_job(job)
    split = result["split"]
    assert (split["scored"], split["train"], split["val"], split["test"]) == ("val", 40, 18, 20)
    assert result["images_held_out"] == 18 and split["leaking_people"] >= 1
    classifier = result["members"]["report/fcnn"]
    assert 0 <= classifier["test_auc"]["value"] <= 1 and classifier["test_auc"]["value"] != classifier["auc"]
    (run,) = (tmp_path / "runs").glob("*/report/*/fold-published")
    held_out = pd.read_csv(run / "held_out.csv")
    assert held_out["patientId"].tolist() == sorted(labels["patientId"][40:58])
    said = (tmp_path / "made" / "report.html").read_text()
    assert "Scored is val: the label table has no labels of the test part" in said
    assert "test (final test labels)" in said
    # published figures stand beside their own split only; the word alone may be in a picture's base64
    assert "MaCo, published" not in said
    for folder in (run, *(tmp_path / "runs").glob("*/mobilenet_unet*/fold-published")):
        evaluated = evaluate(schema.Evaluate(run=str(folder), draws=10))
        assert "Scored is val" in evaluated["page"].read_text()


def test_published_figures_stand_beside_the_split_that_they_are_of():
    split = {"key": "447d1fe93f670111", "scored": "val", "train": 2518, "val": 1500, "test": 3000}
    split |= {"leaking_people": 316, "leaking_images": 949}
    section = published_split_section(split, [("densenet121", "val", {"value": 0.9, "low": 0.88, "high": 0.92})])
    for text in ("MRM-pytorch", "MaCo, published", "0.936", "0.900 (0.880 to 0.920)", "here it has 10%", "316 people"):
        assert text in section
    assert "MaCo" not in published_split_section(split | {"key": "other"}, [])
