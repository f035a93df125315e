"""Formats by name. The first format that matches a folder reads it; if none matches, Kaggle's does, and its faults say
what is missing."""

from pathlib import Path

from pneumonia.data.formats import kaggle, rsna
from pneumonia.data.formats.base import Format

FORMATS: dict[str, Format] = {
    "rsna": rsna.FORMAT,
    "kaggle": kaggle.FORMAT,
}


def format_of(folder: Path) -> Format:
    return next((kind for kind in FORMATS.values() if kind.matches(folder)), kaggle.FORMAT)
