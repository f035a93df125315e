"""A finished submission by its name, its folder or its file."""

from pathlib import Path

from pneumonia import config
from pneumonia.system.errors import bad_input

SUBMISSIONS = config.REPOSITORY / "submissions"
TABLE = "submission.csv"


def submission_folder(text: str) -> Path:
    """The folder of a submission: a path, or a name under submissions/. Raises BadInput where there is none."""
    names = sorted(path.parent.name for path in SUBMISSIONS.glob(f"*/{TABLE}"))
    fix = f"known submissions: {', '.join(names)}" if names else "./run.sh fold=0 makes one"
    if not text:
        raise bad_input("command line", "submission= is missing", fix)
    for folder in (config.user_path(text), SUBMISSIONS / text):
        if (folder / TABLE).is_file():
            return folder
    raise bad_input("command line", f"there is no submission '{text}'", fix)


def submission_file(text: str) -> Path:
    """The predictions that a setting names: a file, a folder of YOLO text, or submission.csv of a submission."""
    path = config.user_path(text)
    if text and (path.is_file() or (path.is_dir() and not (path / TABLE).is_file())):
        return path
    return submission_folder(text) / TABLE
