"""Which file is which member: through the real command line, and by the rules alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pneumonia.commands.member_files import in_recipe_order, named_files
from pneumonia.system.errors import BadInput

SOURCE = Path(__file__).resolve().parents[2] / "src"


def run(folder: Path, *cli_args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-P", "-m", "pneumonia", *cli_args]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)


def refused(folder: Path, *cli_args: str) -> str:
    """The single line of a refusal."""
    done = run(folder, *cli_args)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture
def files(prediction_files):
    (prediction_files / "sample.csv").write_text("patientId,PredictionString\nnobody,0.5 0 0 10 10\n")
    return prediction_files


FIT = ("ensemble", "classifiers=[gate.csv]", "labels=labels.csv", "trials=2", "draws=20", "json=true", "out=out")


def test_members_in_any_order_by_path_by_file_name_and_by_name(files):
    done = run(files, *FIT, "members=[a.csv,b.csv,c.csv]")
    assert done.returncode == 0, done.stderr
    expected = Path(json.loads(done.stdout.splitlines()[-1])["submission"]).read_bytes()
    (files / "moved").mkdir()
    for name in "abc":
        shutil.copy(files / f"{name}.csv", files / "moved" / f"{name}.csv")
        shutil.copy(files / f"{name}.csv", files / "moved" / f"{name}{name}.csv")
    for members in (
        "[c.csv,a.csv,b.csv]",
        f"[{files}/b.csv,./c.csv,a.csv]",
        "[moved/c.csv,moved/a.csv,b.csv]",
        "{b.csv: b.csv, a.csv: moved/aa.csv, c.csv: c.csv}",
        "{c: moved/cc.csv, b: moved/bb.csv, a: moved/aa.csv}",
        "[moved/aa.csv,moved/bb.csv,moved/cc.csv]",  # nothing known: by position
    ):
        done = run(
            files, "apply", "recipe=out/recipe.yaml", f"members={members}", "classifiers=[gate.csv]", "out=x.csv"
        )
        assert done.returncode == 0, done.stderr
        assert (files / "x.csv").read_bytes() == expected
        assert ("taken in the recipe's order: a.csv, b.csv, c.csv" in done.stderr) == ("[moved/aa" in members)
    apply = ("apply", "recipe=out/recipe.yaml", "classifiers=[gate.csv]", "out=y.csv")
    text = refused(files, *apply, "members=[a.csv,b.csv,moved/cc.csv]")
    assert "missing: c.csv; not in the recipe: moved/cc.csv" in text and "members={a.csv: FILE" in text
    text = refused(files, *apply, "members={a.csv: b.csv, b.csv: a.csv, c.csv: c.csv}")
    assert "b.csv is given as a.csv, but is b.csv" in text
    assert "given twice" in refused(files, *apply, "members=[a.csv,b.csv,./b.csv]")
    assert not (files / "y.csv").exists()


def test_members_given_by_name(files):
    done = run(files, *FIT, "members={second: b.csv, first: a.csv}")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert list(result["members"]) == ["second", "first"]
    apply = ("apply", "recipe=out/recipe.yaml", "classifiers={gate.csv: gate.csv}", "out=x.csv")
    done = run(files, *apply, "members={first: a.csv, second: b.csv}")
    assert done.returncode == 0, done.stderr
    assert (files / "x.csv").read_bytes() == Path(result["submission"]).read_bytes()
    assert "missing: first; not in the recipe: third" in refused(files, *apply, "members={third: a.csv, second: b.csv}")


def test_a_sample_of_other_images_is_refused_before_the_fit(files):
    done = run(files, *FIT, "members=[a.csv,b.csv]", "sample=sample.csv")
    assert done.returncode == 2
    assert f"error: {files}/sample.csv:2: 1 of its 1 images are not predicted, the first is nobody; give" in done.stderr
    assert "trials" not in done.stderr and not (files / "out").exists()
    (files / "file").write_text("")
    assert "file: is a file; give out= the name of a folder" in refused(files, *FIT[:-1], "members=[a.csv]", "out=file")


# ------------------------------------------------------------------ the rules


def order(given, names) -> list[str]:
    return [path.name for path in in_recipe_order(given, names, "members").values()]


@pytest.mark.parametrize(
    ("given", "names", "expected"),
    [
        (["b.csv", "a.csv"], ["a.csv", "b.csv"], ["a.csv", "b.csv"]),
        (["test/b.csv", "test/a.csv"], ["oof/a.csv", "oof/b.csv"], ["a.csv", "b.csv"]),
        (["b.csv", "a.csv"], ["a", "b"], ["a.csv", "b.csv"]),
        ({"b": "x.csv", "a": "y.csv"}, ["oof/a.csv", "oof/b.csv"], ["y.csv", "x.csv"]),
        # the same file name in every folder says nothing: by position
        (["r/x/test.csv", "r/y/oof.csv"], ["q/x/oof.csv", "q/y/oof.csv"], ["test.csv", "oof.csv"]),
        (["x.csv"], ["a.csv"], ["x.csv"]),
        ("x.csv", ["a.csv"], ["x.csv"]),
    ],
)
def test_names_decide_where_there_are_any(given, names, expected):
    assert order(given, names) == expected


@pytest.mark.parametrize(
    ("given", "names", "words"),
    [
        ({"a": "a.csv", "b": "b.csv"}, ["a", "b", "c"], "missing: c"),
        ({"a": "a.csv", "d": "d.csv"}, ["a"], "not in the recipe: d"),
        (["x.csv"], ["a.csv", "b.csv", "c.csv"], "1 files, the recipe has 3"),
        (["a.csv", "c.csv"], ["a.csv", "b.csv"], "missing: b.csv; not in the recipe: c.csv"),
        ([], ["a.csv"], "members= is missing"),
        ({"x": "a.csv"}, ["a"], "missing: a"),
        ({"a": "b.csv"}, ["a.csv", "b.csv"], "is given as a.csv, but is b.csv"),
    ],
)
def test_what_contradicts_is_refused(given, names, words):
    with pytest.raises(BadInput, match=words):
        order(given, names)


@pytest.mark.parametrize("given", [5, [5], [""], {"a": None}, {"a": ["a.csv"]}])
def test_what_is_no_path_is_refused(given):
    with pytest.raises((BadInput, TypeError)):
        named_files(given, "members")


def test_no_classifier_where_the_recipe_has_none():
    assert in_recipe_order([], [], "classifiers") == {}
    with pytest.raises(BadInput, match=r"not in the recipe: gate.csv; leave classifiers= out"):
        in_recipe_order(["gate.csv"], [], "classifiers")
