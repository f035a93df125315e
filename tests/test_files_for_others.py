"""Files that other programs read: Dockerfile and CITATION.cff. There is no Docker here: what an image would hold is
copied to a folder and run."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The folder /app of an image, with this Python's packages."""
    app = tmp_path_factory.mktemp("app")
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            files = sorted(REPOSITORY.glob(source))
            assert files, source
            for file in files:
                if file.is_dir():
                    shutil.copytree(file, app / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy2(file, app / target)
    venv = app / ".venv"
    venv.mkdir()
    for part in Path(sys.prefix).iterdir():
        (venv / part.name).symlink_to(part)
    # as run.sh leaves it after the installation, so that it installs nothing here
    checksum = subprocess.run(["cksum"], input=(app / "requirements.txt").read_bytes(), capture_output=True, check=True)
    (venv / f".installed-requirements-{checksum.stdout.split()[0].decode()}").touch()
    return app


def run(app, *words, **env):
    env = os.environ | env
    return subprocess.run(["./run.sh", *words], cwd=app, env=env, capture_output=True, text=True, check=False)


def test_what_is_copied_is_all_that_the_program_needs(image):
    for words in (["--help"], ["list", "what=ensembles"], ["weights", "ensemble=demo", "preset=smoke"]):
        done = run(image, *words, PNEUMONIA_LOCK="requirements.txt")
        assert done.returncode == 0 and "First use" not in done.stderr, done.stderr


def test_the_locks_of_both_images_are_there(image):
    default = re.search(r"^ARG LOCK=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
    for lock in (default, *re.findall(r"--build-arg LOCK=(\S+)", DOCKERFILE)):
        assert (image / lock).is_file()
    done = run(image, "list", PNEUMONIA_LOCK="requirements-tpu.txt")
    assert done.returncode == 3 and done.stderr.startswith("error: PNEUMONIA_LOCK=requirements-tpu.txt: there is no")


def test_its_commands_are_the_readme_s():
    readme = (REPOSITORY / "README.md").read_text().split("## The first command")[1]
    commands = re.findall(r"\./run\.sh (fold=0[^#\n]*)", readme)[:2]
    ours = re.findall(r"pneumonia (fold=0.*)$", DOCKERFILE, re.MULTILINE)
    assert [set(re.findall(r"(\w+)=", command)) for command in commands] == [
        set(re.findall(r"(\w+)=", command)) for command in ours
    ]


def test_no_data_and_no_result_get_into_an_image():
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and kept == {"requirements*.txt", "run.sh", "README.md", "LICENSE", "src", "experiments",
                                       "folds/README.md"}  # fmt: skip


def test_the_citation_has_what_its_format_requires():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert all({"type", "title", "authors"} <= set(reference) for reference in citation["references"])
