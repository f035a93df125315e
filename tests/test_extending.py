"""docs/extending.md as it stands: its blocks are applied to a copy of the program, and its commands run there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: file=(\S+?))?(?: (after|before)="([^"\n]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def program(tmp_path):
    """A copy of the program; the demo and the caches are the repository's own."""
    copy = tmp_path / "program"
    for name in ("src", "experiments"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("demo", "cache"):
        (REPOSITORY / name).mkdir(exist_ok=True)
        (copy / name).symlink_to(REPOSITORY / name)
    return copy


def follow(section: str, program: Path) -> list[str]:
    """Apply a section's blocks, then run its commands; returns what each printed."""
    commands = []
    for language, file, place, anchor, text in BLOCK.findall(SECTIONS[section]):
        if language == "sh":
            commands += text.splitlines()
        elif not place:
            (program / file).write_text(text)
        else:
            lines = (program / file).read_text().splitlines(keepends=True)
            (row,) = (number for number, line in enumerate(lines) if line.rstrip("\n") == anchor)
            lines.insert(row + (place == "after"), text)
            (program / file).write_text("".join(lines))
    assert commands
    return [run(shlex.split(command)[1:], program) for command in commands]


def run(words: list[str], program: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pneumonia", *words],
        cwd=program,
        env=os.environ | {"PYTHONPATH": str(program / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def tables_of(program: Path, experiment: str) -> list[str]:
    return [path.name for path in program.glob(f"runs/*/{experiment}*/fold0/*.csv")]


def test_a_reader_sees_where_each_block_goes():
    """GitHub does not show what stands behind the language of a block."""
    for match in BLOCK.finditer(PAGE):
        language, file, place, anchor, _ = match.groups()
        line = PAGE[: match.start()].rstrip().splitlines()[-1]
        if language != "sh":
            where = f", {place} the line `{re.sub('-+', '...', anchor)}`:" if place else ", a new file:"
            assert line == f"`{file}`{where}"


def test_a_backbone(program):
    follow("A backbone", program)
    assert {"oof_classes.csv", "test_classes.csv"} <= set(tables_of(program, "mobilenetv3small"))


def test_a_detector_family(program):
    follow("A detector family", program)
    assert {"oof_detections.csv", "test_detections.csv"} <= set(tables_of(program, "centre_net"))


def test_an_augmentation(program):
    follow("An augmentation", program)
    (config,) = program.glob("runs/*/report/fcnn*/fold0/config.yaml")
    assert "downscale: 0.4" in config.read_text()


def test_a_fusion_method(program):
    rows = ["patientId,PredictionString"]
    (program / "labels.csv").write_text(
        "\n".join(["patientId,x,y,width,height,Target", *(f"i{n},100,100,200,200,1" for n in range(8))]) + "\n"
    )
    for name, score in (("A", 0.5), ("B", 0.9)):
        boxes = [f"i{number},{score} {100 + number} 100 200 200" for number in range(8)]
        (program / f"{name}.csv").write_text("\n".join([*rows, *boxes]) + "\n")
    listed, _ = follow("A fusion method", program)
    assert "all boxes of all members" in listed
    assert "method: union" in (program / "out" / "recipe.yaml").read_text()


def test_another_competition(program):
    folder = program / "vendor"
    lines = ["image_id,class_name,x_min,y_min,x_max,y_max"]
    generator = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 4)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / part / f"{part}-{number}.png"), generator.integers(0, 255, (96, 128), np.uint8))
    for number in range(24):
        lines.append(f"train-{number},{'Consolidation,10,20,60,70' if number % 2 else 'No finding,,,,'}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    checked, folds, _ = follow("Another competition", program)
    assert "24 training and 4 test images, no faults" in checked
    assert "12" in folds
    assert "test_classes.csv" in tables_of(program, "report/fcnn")
