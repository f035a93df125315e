"""`ensemble`, `apply` and `leaderboard` on files, as a person calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes.predictions import write_classes, write_detections
from pneumonia.commands.ensemble import apply, fit
from pneumonia.commands.leaderboard import leaderboard as leaderboard_command
from pneumonia.ensemble import leaderboard
from pneumonia.system.errors import BadInput


@pytest.fixture
def files(tmp_path, monkeypatch, competition):
    """Prediction files, labels and groups of a small competition; the leaderboard goes to the same folder."""
    monkeypatch.setattr(leaderboard, "TABLE", tmp_path / "leaderboard.csv")
    truth, members, classifiers, groups = competition(80)
    for name, table in members.items():
        write_detections(tmp_path / f"{name}.csv", table)
    write_classes(tmp_path / "gate.csv", classifiers["gate"])
    rows = ["patientId,x,y,width,height,Target"]
    for row, name in enumerate(truth.ids):
        boxes = truth.boxes[truth.offsets[row] : truth.offsets[row + 1]].tolist()
        rows += [f"{name},{','.join(map(repr, box))},1" for box in boxes] or [f"{name},,,,,0"]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    people = [f"{name},{person}" for name, person in groups.items()]
    (tmp_path / "groups.csv").write_text("patientId,person\n" + "\n".join(people) + "\n")
    return tmp_path


def fitted(files, members, **settings):
    given = {"classifiers": [str(files / "gate.csv")], "trials": 4, "draws": 50, "out": str(files / "out")} | settings
    labels, groups = str(files / "labels.csv"), str(files / "groups.csv")
    return fit(schema.Ensemble(members=members, labels=labels, groups=groups, **given))


def test_apply_gives_the_submission_bit_for_bit(files):
    members = [str(files / f"{name}.csv") for name in "abc"]
    result = fitted(files, members)
    assert set(result["members"]) == set(members) and result["low"] < result["nested_score"] < result["high"]
    again = apply(
        schema.Apply(
            recipe=str(result["recipe"]),
            members=members,
            classifiers=[str(files / "gate.csv")],
            out=str(files / "again.csv"),
        )
    )
    assert Path(again["submission"]).read_bytes() == Path(result["submission"]).read_bytes()


def test_a_list_is_matched_by_position_and_a_mapping_by_name(files):
    result = fitted(files, {name: str(files / f"{name}.csv") for name in "abc"}, classifiers=[])
    recipe = str(result["recipe"])

    def applied(members):
        out = str(files / "again.csv")
        return Path(apply(schema.Apply(recipe=recipe, members=members, out=out))["submission"]).read_bytes()

    expected = Path(result["submission"]).read_bytes()
    assert applied({name: str(files / f"{name}.csv") for name in "cba"}) == expected
    assert applied([str(files / f"{name}.csv") for name in "abc"]) == expected
    for members, word in (
        ({"a": "a.csv", "b": "b.csv"}, "missing: c"),
        ({name: f"{name}.csv" for name in "abcd"}, "not in the recipe: d"),
        (["a.csv"], "1 files, the recipe has 3"),
        (["a.csv", "a.csv"], "given twice"),
        ([], "members= is missing"),
    ):
        with pytest.raises(BadInput, match=word):
            applied(members)


def test_members_of_other_images_are_refused(files):
    text = (files / "b.csv").read_text().splitlines()
    (files / "b.csv").write_text("\n".join(text[:-1]) + "\n")
    with pytest.raises(BadInput, match=r"b.csv: covers other images than .*a.csv: lacks 1"):
        fitted(files, [str(files / "a.csv"), str(files / "b.csv")])


def test_the_leaderboard_ranks_and_replaces(files, capsys):
    members = [str(files / f"{name}.csv") for name in "abc"]
    first = fitted(files, members)
    fitted(files, members[:1], out=str(files / "single"))
    fitted(files, members)
    result = leaderboard_command(schema.Leaderboard())
    assert len(result["submissions"]) == 2
    row = next(row for row in result["submissions"] if row["submission"] == str(files / "out"))
    assert float(row["nested_score"]) == pytest.approx(first["nested_score"], abs=1e-6)
    assert set(row["members"]) == set(members) and row["date"].startswith("20")
    scores = [float(row["nested_score"]) for row in result["submissions"]]
    assert scores == sorted(scores, reverse=True)
    assert str(files / "single") in capsys.readouterr().out


def test_tune_on_a_file_of_ids(files):
    ids = np.array([f"i{number}" for number in range(40)])
    (files / "ids.csv").write_text("patientId,PredictionString\n" + "".join(f"{name},0.5 0 0 1 1\n" for name in ids))
    result = fitted(files, [str(files / "a.csv")], tune_on=str(files / "ids.csv"))
    assert len((files / "out" / "nested.csv").read_text().splitlines()) == 41
    assert result["nested_score"] is not None
    with pytest.raises(BadInput, match="stage_1_test_ids"):
        fitted(files, [str(files / "a.csv")], tune_on="stage1")


def test_ensembling_imports_no_keras(tmp_path):
    code = "import sys, pneumonia.commands.ensemble, pneumonia.commands.score; print(*sys.modules)"
    source = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert not loaded & {"keras", "tensorflow", "sklearn", "optuna", "pandas", "ensemble_boxes"}


def test_the_result_is_json(files):
    fitted(files, [str(files / "a.csv")])
    assert json.loads((files / "out" / "result.json").read_text())["members"]
