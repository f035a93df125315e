"""What a command imports before it does its work: the libraries that it does not use must not slow its start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
NETWORKS = {"tensorflow", "keras", "keras_cv", "segmentation_models", "jax", "ray", "albumentations", "h5py"}
PAGES = {"matplotlib", "sklearn", "scipy.stats"}
IMAGES = {"pydicom", "cv2", "PIL", "pandas"}
PROGRAM = """
import json, sys
from pneumonia.cli import main
code = main(sys.argv[2:])
open(sys.argv[1], "w").write(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "labels.csv").write_text("patientId,x,y,width,height,Target\na,10,10,50,50,1\nb,,,,,0\n")
    (folder / "submission.csv").write_text("patientId,PredictionString\na,0.9 10 10 50 50\nb,\n")
    (folder / "people.csv").write_text("patientId,person\na,1\nb,2\n")
    return folder


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["--help"], NETWORKS | PAGES | IMAGES | {"numpy", "yaml", "numba"}),
        (["train", "--help"], NETWORKS | PAGES | IMAGES | {"numpy", "numba"}),
        (["list", "what=models"], NETWORKS | PAGES | IMAGES | {"numpy", "numba"}),
        (["validate", "submission=submission.csv"], NETWORKS | PAGES | IMAGES | {"numba"}),
        (["score", "submission=submission.csv", "labels=labels.csv"], NETWORKS | PAGES | IMAGES),
        (["score", "submission=submission.csv", "labels=labels.csv", "groups=people.csv"], NETWORKS | PAGES | IMAGES),
        (["leaderboard"], NETWORKS | PAGES | IMAGES),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_only_what_it_uses(tables, words, unused):
    modules = tables / "modules.json"
    env = os.environ | {"PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-P", "-c", PROGRAM, str(modules), *words]
    done = subprocess.run(command, cwd=tables, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not unused & set(json.loads(modules.read_text()))
