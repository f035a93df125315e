"""The main job on the student report's own split, which has no folds."""

import pandas as pd
import pytest

from pneumonia import config, schema
from pneumonia.commands import folds_and_runs
from pneumonia.commands import main_job as pipeline


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
