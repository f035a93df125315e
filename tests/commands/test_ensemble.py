"""`ensemble`, `apply` and `leaderboard` on files, as a person calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pneumonia import schema
from pneumonia.commands.ensemble import apply, fit
from pneumonia.commands.leaderboard import leaderboard as leaderboard_command
from pneumonia.ensemble import leaderboard
from pneumonia.system.errors import BadInput


@pytest.fixture
def files(prediction_files, monkeypatch):
    """The leaderboard goes to the same folder."""
    monkeypatch.setattr(leaderboard, "TABLE", prediction_files / "leaderboard.csv")
    return prediction_files


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


WATCHED = """
import sys
from pathlib import Path
from pneumonia.cli import main
from pneumonia.ensemble import leaderboard
leaderboard.TABLE = Path("leaderboard.csv")
codes = [main(words.split()) for words in sys.argv[1:]]
print(*sys.modules)
sys.exit(max(codes))
"""


def test_ensembling_and_scoring_load_no_keras(files):
    """The commands in a process of their own, and what that has loaded when they are done."""
    members = "members=[a.csv,b.csv] classifiers=[gate.csv]"
    words = (
        f"ensemble {members} labels=labels.csv groups=groups.csv trials=2 draws=20 out=out",
        f"apply {members} recipe=out/recipe.yaml out=again.csv",
        "score submission=out/submission.csv labels=labels.csv groups=groups.csv draws=20",
    )
    source = str(Path(__file__).resolve().parents[2] / "src")
    command, env = [sys.executable, "-P", "-c", WATCHED, *words], {**os.environ, "PYTHONPATH": source}
    done = subprocess.run(command, env=env, cwd=files, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"pneumonia.ensemble.nested", "pneumonia.metrics.iou_map"} <= loaded
    assert loaded & {"keras", "tensorflow", "jax", "torch", "ray", "matplotlib", "ensemble_boxes"} == set()


def test_the_result_is_json(files):
    result = fitted(files, [str(files / "a.csv"), str(files / "b.csv")])
    written = json.loads((files / "out" / "result.json").read_text())
    assert {name: written[name] for name in ("nested_score", "low", "high", "fitted_score", "members")} == {
        name: result[name] for name in ("nested_score", "low", "high", "fitted_score", "members")
    }
    assert list(written["members"]) == [str(files / "a.csv"), str(files / "b.csv")]
    assert written["members"][str(files / "a.csv")] > 0 and written["low"] < written["nested_score"] < written["high"]


def called(files, *words) -> tuple[int, str, dict]:
    """Exit code, stderr and JSON of a command line in a process of its own, whose leaderboard is the test's."""
    code = (
        "import sys; from pathlib import Path\n"
        "from pneumonia.cli import main; from pneumonia.ensemble import leaderboard\n"
        f"leaderboard.TABLE = Path({str(files / 'leaderboard.csv')!r}); sys.exit(main(sys.argv[1:]))"
    )
    source = str(Path(__file__).resolve().parents[2] / "src")
    command = [sys.executable, "-c", code, *words, "json=true"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": source}, cwd=files, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr, json.loads(done.stdout.splitlines()[-1])


def test_named_files_pass_the_real_command_line(files):
    """members={name: FILE} and classifiers={name: FILE}, by ensemble and then by apply in another order."""
    fitting = ("labels=labels.csv", "groups=groups.csv", "trials=3", "draws=20", "out=out")
    code, stderr, result = called(
        files, "ensemble", "members={first: a.csv, second: b.csv}", "classifiers={gate: gate.csv}", *fitting
    )
    assert code == 0, stderr
    assert set(result["members"]) == {"first", "second"}
    recipe = f"recipe={result['recipe']}"
    code, stderr, again = called(
        files, "apply", recipe, "members={second: b.csv, first: a.csv}", "classifiers={gate: gate.csv}", "out=again.csv"
    )
    assert code == 0, stderr
    assert Path(again["submission"]).read_bytes() == Path(result["submission"]).read_bytes()
    code, stderr, _ = called(files, "apply", recipe, "members={first: a.csv, third: b.csv}", "classifiers=[gate.csv]")
    assert code == 2 and "missing: second" in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("edited", "says"),
    [
        ("fusion: {iou: 1.5}", "fusion.iou: 1.5 is not allowed; give a number above 0 and below 1"),
        ("fusion: {votes: -3}", "fusion.votes: -3 is not allowed; give 1 or more"),
        ("gate: {exponent: -1}", "gate.exponent: -1 is not allowed; give 0 or more"),
        ("fusion: {voets: 1}", "unknown setting 'fusion.voets'; did you mean 'fusion.votes'?"),
        ("threshold: high", "threshold: 'high' has the wrong type; give a number, 0 or more"),
    ],
)
def test_a_recipe_edited_by_hand_is_refused_in_one_line(files, edited, says):
    (files / "recipe.yaml").write_text(f"members: [{{name: a}}]\n{edited}\n")
    code, stderr, _ = called(files, "apply", "recipe=recipe.yaml", "members=[a.csv]")
    assert code == 2 and stderr == f"error: {files / 'recipe.yaml'}: {says}\n"


def test_boxes_beyond_the_frame_are_refused_until_it_is_given(files):
    text = (files / "labels.csv").read_text().splitlines()
    row = next(number for number, line in enumerate(text) if line.endswith(",1"))
    text[row] = f"{text[row].split(',')[0]},1000,900,600,300,1"
    (files / "labels.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(
        BadInput, match=r"labels: its boxes reach 1600, 1200, beyond the recipe's frame of 1024 x 1024; write"
    ):
        fitted(files, [str(files / "a.csv")])
    (files / "large.yaml").write_text("frame: [2048, 2048]\n")
    fitted(files, [str(files / "a.csv")], recipe=str(files / "large.yaml"))
    (files / "small.yaml").write_text((files / "out" / "recipe.yaml").read_text().replace("2048", "64"))
    with pytest.raises(BadInput, match=r"beyond the recipe's frame of 64"):
        apply(schema.Apply(recipe=str(files / "small.yaml"), members=[str(files / "a.csv")],
                           classifiers=[str(files / "gate.csv")]))  # fmt: skip
