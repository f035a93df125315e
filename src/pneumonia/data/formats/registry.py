"""Formats by name. A folder is read by the first that matches; one that matches none is read as Kaggle's, whose faults
then say what is missing."""

from pathlib import Path

from pneumonia.data.formats import kaggle
from pneumonia.data.formats.base import Format

FORMATS: dict[str, Format] = {
    "kaggle": kaggle.FORMAT,
}


def format_of(folder: Path) -> Format:
    return next((each for each in FORMATS.values() if each.matches(folder)), kaggle.FORMAT)
