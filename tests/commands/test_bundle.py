"""`bundle` of an ensemble whose networks were never trained: what is in it, and the same bits on another machine."""

import base64
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import simplejpeg

from pneumonia import cli, config, schema
from pneumonia.commands import bundle as bundle_command
from pneumonia.commands.bundle import NOT_FOR_PREDICTION, prediction_requirements
from pneumonia.ensemble.recipe import Gate, Member, Recipe, write_recipe
from pneumonia.models.registry import family as family_of
from pneumonia.runs import checkpoint
from pneumonia.runs.run import Run
from pneumonia.system.files import write_json
from pneumonia.system.locked_requirements import PINNED, build_wheels, locked, normalised, with_dependencies

SIZE = 64
EXPERIMENTS = {
    "report/cnn": ({"model": {"name": "cnn"}}, 1),
    "yolov8_xs": ({"model": {"name": "yolov8", "size": "xs"}, "min_score": 0.0, "max_boxes": 3}, 2),
    "segmentation_unet": ({"model": {"name": "segmentation_unet", "weights": "none"}, "min_score": 0.0}, 1),
}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Path:
    """An ensemble as the main job leaves it: a classifier, two localizers, one of them with two folds."""
    root = tmp_path_factory.mktemp("job")
    runs = {}
    for seed, (name, (changes, folds)) in enumerate(EXPERIMENTS.items()):
        settings = {"image_size": SIZE, "batch_size": 4, "tta": ["identity", "flip"], **changes}
        experiment = config.from_tree(schema.Experiment, settings, "the test")
        for fold in range(folds):
            run = Run(root / "runs" / "rsna-12345678" / name / f"fold{fold}")
            run.begin(experiment, {"data": "none", "fold": fold})
            keras.utils.set_random_seed(10 * seed + fold)
            family = family_of(experiment.model, SIZE, pretrained=False)
            checkpoint.write_weights(run.weights, family.build().variables)
            run.finish(family.kind, 0.0, {}, {})
            runs.setdefault(name, []).append(os.path.relpath(run.folder, config.REPOSITORY))
    folder = root / "submissions" / "mine (1)"
    folder.mkdir(parents=True)
    members = [Member(name="yolov8_xs"), Member(name="segmentation_unet", weight=0.5)]
    gate = Gate(exponent=0.5)
    write_recipe(folder / "recipe.yaml", Recipe(members, [Member(name="report/cnn")], gate=gate, threshold=0.0))
    result = {"dataset": "rsna-12345678", "held_out_score": 0.25, "report": str(folder / "report.html"), "runs": runs}
    write_json(folder / "result.json", result)
    (folder / "submission.csv").write_text("patientId,PredictionString\n")
    return folder


def bundle(capsys, submission: Path, out: Path, *words: str) -> tuple[int, dict, str]:
    code = cli.main(["bundle", f"submission={submission}", f"out={out}", "json=true", *words])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


def make_images(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(5):
        picture = np.random.default_rng(seed).integers(0, 256, (90 + 10 * seed, 120, 1), np.uint8)
        (folder / f"image {seed}.jpg").write_bytes(simplejpeg.encode_jpeg(picture, 90, "GRAY"))
    return folder


def test_what_is_in_it(ensemble, tmp_path, capsys):
    code, result, said = bundle(capsys, ensemble, tmp_path / "made")
    assert code == 0 and result["runs"] == 4 and result["wheels"] == 0, said
    made = tmp_path / "made"
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert result["files"] == len(files)
    top = {"LICENSE", "README.md", "SHA256SUMS", "predict.ipynb", "requirements.txt"}
    assert {name for name in files if "/" not in name} == top
    run_files = {"config.yaml", "done.json", "weights.safetensors"}
    assert {name for name in files if name.startswith("runs/rsna-12345678/yolov8_xs/fold1/")} == {
        f"runs/rsna-12345678/yolov8_xs/fold1/{name}" for name in run_files
    }
    assert {name for name in files if name.startswith("submissions/")} == {
        "submissions/mine (1)/recipe.yaml", "submissions/mine (1)/result.json"
    }  # fmt: skip
    assert "src/pneumonia/commands/predict.py" in files and not any(".pyc" in name for name in files)
    kept = (made / "submissions" / "mine (1)" / "result.json").read_text()
    assert str(ensemble.parent) not in kept and "0.25" in kept  # no path of this machine
    sums = dict(line.split("  ", 1)[::-1] for line in (made / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == files - {"SHA256SUMS", "predict.ipynb"}
    for name, checksum in sums.items():
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == checksum
    assert "0.2500" in (made / "README.md").read_text()


def test_the_notebook_is_one(ensemble, tmp_path, capsys):
    bundle(capsys, ensemble, tmp_path / "made")
    notebook = json.loads((tmp_path / "made" / "predict.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert [cell["cell_type"] for cell in notebook["cells"]] == ["markdown", *["code"] * 5]
    assert len({cell["id"] for cell in notebook["cells"]}) == 6
    for cell in notebook["cells"][1:]:
        compile("".join(cell["source"]), "cell", "exec")
        assert cell["outputs"] == [] and cell["execution_count"] is None
    assert "mine (1)" in "".join(notebook["cells"][4]["source"])


def test_what_cannot_be_bundled_is_refused_and_nothing_is_written(ensemble, tmp_path, capsys):
    out = tmp_path / "made"
    code, result, _ = bundle(capsys, tmp_path / "nowhere", out)
    assert code == 2 and "there is no submission" in result["error"][0]["what"]
    other = tmp_path / "other"
    shutil.copytree(ensemble, other)
    (other / "recipe.yaml").unlink()
    code, result, _ = bundle(capsys, other, out)
    assert code == 2 and "is not a finished run or an ensemble" in result["error"][0]["what"]
    shutil.copy(ensemble / "recipe.yaml", other)
    write_json(other / "result.json", {"runs": {"yolov8_xs": ["runs/gone/fold0"]}})
    code, result, _ = bundle(capsys, other, out)
    assert code == 2 and "does not exist any more" in result["error"][0]["what"]
    damaged = tmp_path / "rsna-1" / "yolov8_xs" / "fold0"
    source = ensemble.parents[1] / "runs" / "rsna-12345678" / "yolov8_xs" / "fold0"
    shutil.copytree(source, damaged)
    with open(damaged / "weights.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    write_json(other / "result.json", {"runs": {"yolov8_xs": [str(damaged)]}})
    code, result, _ = bundle(capsys, other, out)
    assert code == 2 and "is missing or damaged" in result["error"][0]["what"]
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    code, result, _ = bundle(capsys, ensemble, out)
    assert code == 2 and [path.name for path in out.iterdir()] == ["mine.txt"]


# ------------------------------------------------------------------ the packages


def test_requirements_are_those_of_the_lock_with_all_that_they_need():
    lock = config.REPOSITORY / "requirements.txt"
    names = [normalised(PINNED.match(text)[1]) for text in prediction_requirements()]
    assert {"tensorflow", "keras", "keras-cv", "segmentation-models", "pydicom", "imagecodecs", "numba"} <= set(names)
    assert {"fsspec", "zipp"} <= set(names)  # by extras: tensorflow-datasets requires etils[epath, ...]
    assert not NOT_FOR_PREDICTION & set(names)
    assert "pytest" not in names
    for text in prediction_requirements():
        assert text in lock.read_text() and "--hash=sha256:" in text
    assert with_dependencies(["scikit-learn"]) >= {"scikit-learn", "scipy", "numpy", "joblib", "threadpoolctl"}
    numpy = locked(lock, {"numpy"})
    assert [" ; python_full_version" in text.split("\n")[0] for text in numpy] == [True] * len(numpy)


def make_wheel(folder: Path, name: str) -> str:
    """A wheel with one empty module; returns its locked requirement."""
    record = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{record}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{record}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for file, text in files.items()
    ]
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{record}/RECORD", "\n".join([*rows, f"{record}/RECORD,,", ""]))
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def only_local_wheels(tmp_path, monkeypatch) -> Path:
    """pip finds only the wheels of this folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in (("PIP_CONFIG_FILE", os.devnull), ("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(folder))):
        monkeypatch.setenv(name, value)
    return folder


def test_wheels_that_the_machine_lacks_are_downloaded_and_install_without_an_index(
    ensemble, tmp_path, capsys, monkeypatch, only_local_wheels
):
    requirements = [make_wheel(only_local_wheels, name) for name in ("first_part", "second_part", "third_part")]
    monkeypatch.setattr(bundle_command, "prediction_requirements", lambda: requirements)
    freeze = tmp_path / "freeze.txt"
    freeze.write_text("Second.Part==1.0\nthird_part==0.9\nother @ file:///somewhere\n")
    made = tmp_path / "made"
    code, result, said = bundle(capsys, ensemble, made, "wheels=true", f"installed={freeze}")
    assert code == 0 and result["wheels"] == 2, said
    assert {path.name.split("-")[0] for path in (made / "wheels").iterdir()} == {"first_part", "third_part"}
    assert (made / "requirements-wheels.txt").read_text() == "first_part==1.0\nthird_part==1.0\n"
    assert len((made / "requirements.txt").read_text().splitlines()) == 3
    install = next(
        "".join(cell["source"])
        for cell in json.loads((made / "predict.ipynb").read_text())["cells"]
        if '"pip"' in "".join(cell["source"])
    )
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "site"))
    exec(install, {"BUNDLE": made, "sys": sys, "subprocess": subprocess})
    assert (tmp_path / "site" / "first_part.py").is_file() and (tmp_path / "site" / "third_part.py").is_file()


def test_a_wheel_with_another_hash_is_refused(tmp_path, only_local_wheels, ensemble, capsys, monkeypatch):
    requirement = make_wheel(only_local_wheels, "first_part")
    monkeypatch.setattr(bundle_command, "prediction_requirements", lambda: [requirement[:-4] + "0000"])
    code, result, _ = bundle(capsys, ensemble, tmp_path / "made", "wheels=true")
    assert code == 3 and "pip could not get the wheels" in result["error"]
    assert not (tmp_path / "made").exists()
    build_wheels([requirement], tmp_path / "wheels")
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["first_part-1.0-py3-none-any.whl"]


# ------------------------------------------------------------------ another machine


def make_environment(folder: Path) -> Path:
    """A virtual environment with the bundle's packages alone, linked from the installed ones; returns its Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for text in prediction_requirements():
        try:
            distribution = importlib.metadata.distribution(PINNED.match(text)[1])
        except importlib.metadata.PackageNotFoundError:
            continue  # of another system or Python
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return folder / "bin" / "python"


def run_cells(python: Path, notebook: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a notebook's code cells one after the other in one process, as Jupyter does."""
    cells = [cell["source"] for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    program = "\n\n".join("".join(source) for source in cells)
    return subprocess.run([python, "-c", program], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_unpacked_into_a_clean_environment_it_predicts_the_same_bits(ensemble, tmp_path, capsys):
    """No package but those of its requirements, no index, no other file of this project."""
    images = make_images(tmp_path / "images")
    code = cli.main(["predict", f"run={ensemble}", f"images={images}", f"out={tmp_path / 'here.csv'}"])
    assert code == 0, capsys.readouterr().err
    assert bundle(capsys, ensemble, tmp_path / "made")[0] == 0
    archive = shutil.make_archive(str(tmp_path / "made"), "zip", tmp_path / "made")
    elsewhere = tmp_path / "elsewhere"
    shutil.unpack_archive(archive, elsewhere)
    shutil.rmtree(tmp_path / "made")
    runs = ensemble.parents[1] / "runs"
    runs.rename(runs.with_name("away"))  # the originals are out of reach
    before = {path.relative_to(elsewhere) for path in elsewhere.rglob("*")}
    python = make_environment(tmp_path / "environment")
    absent = subprocess.run([python, "-c", "import optuna"], capture_output=True, text=True, check=False)
    assert "No module named 'optuna'" in absent.stderr
    (tmp_path / "home").mkdir()
    nowhere = "http://127.0.0.1:9"
    done = run_cells(
        python, elsewhere / "predict.ipynb",
        PATH="/usr/bin:/bin", HOME=str(tmp_path / "home"), PIP_NO_INDEX="1", HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere,
        BUNDLE=str(elsewhere), IMAGES=str(images), SUBMISSION=str(tmp_path / "there.csv"),
    )  # fmt: skip
    runs.with_name("away").rename(runs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert (tmp_path / "here.csv").read_text().count(" ") > 20  # there are boxes
    assert "patientId,PredictionString" in done.stdout
    added = {path.relative_to(elsewhere) for path in elsewhere.rglob("*")} - before
    assert not {path for path in added if "__pycache__" not in path.parts}


def test_a_damaged_bundle_says_so(ensemble, tmp_path, capsys):
    bundle(capsys, ensemble, tmp_path / "made")
    with open(tmp_path / "made" / "LICENSE", "a") as file:
        file.write("!")
    done = run_cells(Path(sys.executable), tmp_path / "made" / "predict.ipynb", BUNDLE=str(tmp_path / "made"))
    assert done.returncode == 1 and "LICENSE is damaged: copy the bundle again" in done.stderr
