"""`./run.sh bundle`: all that a machine without internet needs to predict with an ensemble.

The folder has the layout of the repository, so that `predict` runs in it as it does here.
"""

import platform
import shutil
from pathlib import Path

from pneumonia import config, schema
from pneumonia.commands.bundle_texts import notebook, readme
from pneumonia.commands.submission_names import submission_folder
from pneumonia.config import REPOSITORY
from pneumonia.inference.predictor import ensemble_runs
from pneumonia.runs.run import Run
from pneumonia.system.errors import bad_input
from pneumonia.system.files import new_folder, read_json, sha256, write_json
from pneumonia.system.locked_requirements import (
    PINNED,
    build_wheels,
    direct_requirements,
    installed_elsewhere,
    locked,
    normalised,
    with_dependencies,
    without_hashes,
)

# Packages of requirements.in for training, tuning and exchange; tests/commands/test_bundle.py predicts without them.
NOT_FOR_PREDICTION = {"albumentations", "ensemble-boxes", "optuna", "pycocotools", "ray"}
RUN_FILES = ("config.yaml", "done.json", "weights.safetensors")
NOTEBOOK, CHECKSUMS = "predict.ipynb", "SHA256SUMS"


def bundle(settings: schema.Bundle) -> dict:
    """Copy weights, settings, recipe and program, with the requirements, a notebook and checksums.

    Returns:
        bundle (the folder), files (their number), bytes, runs, wheels (the number of downloaded packages).

    Raises:
        BadInput: no such ensemble, a run of it is gone or damaged, or `out` is not an empty folder.
        EnvironmentFailure: pip could not download a wheel, or the disk is full.
    """
    if not settings.out:
        raise bad_input("command line", "out= is missing", "give out=DIR, a new folder")
    submission = submission_folder(settings.submission)
    runs = ensemble_runs(submission)
    check_weights(runs)
    out = config.user_path(settings.out)
    has = installed_elsewhere(config.user_path(settings.installed)) if settings.installed else set()
    requirements = prediction_requirements()
    with new_folder(out, replace=False) as folder:
        copy_program(folder)
        result = copy_ensemble(submission, runs, folder)
        (folder / "requirements.txt").write_text(lines(map(without_hashes, requirements)), "utf-8")
        count = add_wheels(requirements, has, folder) if settings.wheels else 0
        facts = {"name": submission.name, "python": platform.python_version(), "score": result.get("held_out_score")}
        (folder / "README.md").write_text(readme(facts), "utf-8")
        write_json(folder / NOTEBOOK, notebook(facts))
        files = write_checksums(folder)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"bundle: {out}, {files} files, {size / 1e6:.0f} MB" + (f", {count} wheels" if settings.wheels else ""))
    print(f"next: copy it to the other machine and open {NOTEBOOK}; README.md in it has the same as a command")
    return {
        "bundle": out, "files": files, "bytes": size, "runs": sum(map(len, runs.values())), "wheels": count
    }  # fmt: skip


def check_weights(runs: dict[str, list[Run]]) -> None:
    """Raises BadInput for a run whose weights are not those that it was finished with."""
    for run in (run for member_runs in runs.values() for run in member_runs):
        if not run.weights.is_file() or sha256(run.weights) != run.done()["weights_sha256"]:
            raise bad_input(run.weights, "is missing or damaged", "train the run again")


def copy_program(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(REPOSITORY / "src" / "pneumonia", folder / "src" / "pneumonia", ignore=ignored)
    shutil.copy(REPOSITORY / "LICENSE", folder / "LICENSE")


def copy_ensemble(submission: Path, runs: dict[str, list[Run]], folder: Path) -> dict:
    """Copy the recipe and what prediction reads of each run; returns the result.json that names their new places."""
    places: dict[str, list[str]] = {}
    for name, member_runs in runs.items():
        for run in member_runs:
            place = Path("runs") / run.folder.relative_to(run.dataset.parent)
            places.setdefault(name, []).append(place.as_posix())
            (folder / place).mkdir(parents=True)
            for file in RUN_FILES:
                shutil.copy(run.folder / file, folder / place / file)
    target = folder / "submissions" / submission.name
    target.mkdir(parents=True)
    shutil.copy(submission / "recipe.yaml", target / "recipe.yaml")
    before = read_json(submission / "result.json")
    kept = ("dataset", "preset", "folds", "held_out_score", "held_out_low", "held_out_high")
    result = {key: before[key] for key in kept if key in before} | {"runs": places}
    write_json(target / "result.json", result)
    return result


def prediction_requirements() -> list[str]:
    """The lock's requirements of prediction, with hashes."""
    roots = set(direct_requirements(REPOSITORY / "requirements.in")) - NOT_FOR_PREDICTION
    return locked(REPOSITORY / "requirements.txt", with_dependencies(roots))


def add_wheels(requirements: list[str], has: set[tuple[str, str]], folder: Path) -> int:
    """Download the wheels that the other machine lacks; returns their number."""
    missing = [text for text in requirements if pinned(text) not in has]
    (folder / "wheels").mkdir()
    build_wheels(missing, folder / "wheels")
    (folder / "requirements-wheels.txt").write_text(lines(map(without_hashes, missing)), "utf-8")
    return len(list((folder / "wheels").glob("*.whl")))


def pinned(requirement: str) -> tuple[str, str]:
    name, version = PINNED.match(requirement).groups()
    return normalised(name), version


def write_checksums(folder: Path) -> int:
    """Write SHA256SUMS of all files but the notebook, which people edit; returns the number of files in the bundle."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = (f"{sha256(path)}  {path.relative_to(folder).as_posix()}" for path in files if path.name != NOTEBOOK)
    (folder / CHECKSUMS).write_text(lines(rows), "utf-8")
    return len(files) + 1


def lines(texts) -> str:
    return "\n".join([*texts, ""])
