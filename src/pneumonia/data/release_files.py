"""Find the files of RSNA's own release: an image archive of three levels of UIDs, and JSON files beside it.

    anywhere/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm
    pneumonia-challenge-annotations-adjudicated-kaggle_2018.json   the consensus of all images, the test images too
    pneumonia-challenge-annotations-original_2018.json             single readers
    pneumonia-challenge-dataset-mappings_2018.json                 the images' names on Kaggle and in NIH's data set

Kaggle's own tables may lie beside them; its sample submission tells the test images from the others.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pneumonia.data.image_folders import is_companion
from pneumonia.data.image_kinds import name_without_suffix
from pneumonia.system.errors import Fault, bad_input

UID = re.compile(r"\d+(\.\d+){2,}", re.ASCII)  # a folder's name; versions such as 1.2 have fewer parts
DEPTH = 2  # levels of folders, besides those of UIDs, in which files are searched
NAMES = {
    "annotations": "*annotations-adjudicated*.json",
    "readers": "*annotations-original*.json",
    "mapping": "*dataset-mappings*.json",
    "sample": "stage_2_sample_submission.csv",
    "labels": "stage_2_train_labels.csv",
    "classes": "stage_2_detailed_class_info.csv",
}


@dataclass(frozen=True)
class ReleaseFiles:
    """Tables of the release, of the kinds in NAMES; None where there is none.

    studies: the folders whose subfolders are studies. archives: zips in the folder.
    """

    annotations: Path | None
    readers: Path | None
    mapping: Path | None
    sample: Path | None
    labels: Path | None
    classes: Path | None
    studies: list[Path]
    archives: list[Path]


def is_uid(name: str) -> bool:
    return UID.fullmatch(name) is not None


def matches(folder: Path) -> bool:
    """Whether a folder has studies or the adjudicated annotations, in it or in its folders down to DEPTH."""
    if is_uid(folder.name) or not folder.is_dir():
        return False
    for place in folders_of(folder):
        for entry in entries_of(place):
            if fnmatch(entry.name, NAMES["annotations"]) or is_study(entry):
                return True
    return False


def find_files(folder: Path, beside: Path) -> ReleaseFiles:
    """Find the files in a folder, and tables in `beside` that the folder does not have.

    Raises:
        BadInput: there are two files of one kind.
    """
    found: dict[str, list[Path]] = {kind: [] for kind in NAMES}
    studies, archives = [], []
    for place in folders_of(folder):
        entries = entries_of(place)
        studies += [place] if any(map(is_study, entries)) else []
        archives += [Path(entry) for entry in entries if entry.name.lower().endswith(".zip")]
        add_tables(found, entries)
    in_folder = {kind for kind, files in found.items() if files}
    others: dict[str, list[Path]] = {kind: [] for kind in NAMES}
    add_tables(others, entries_of(beside))
    found |= {kind: files for kind, files in others.items() if kind not in in_folder}
    for files in found.values():
        if len(files) > 1:
            names = " and ".join(str(file) for file in files[:2])
            raise bad_input(folder, f"has two files of one kind: {names}", "keep one of them there")
    return ReleaseFiles(
        **{kind: next(iter(files), None) for kind, files in found.items()}, studies=studies, archives=archives
    )


def add_tables(found: dict[str, list[Path]], entries: list[os.DirEntry]) -> None:
    for entry in entries:
        for kind, pattern in NAMES.items():
            if fnmatch(entry.name, pattern):
                found[kind].append(Path(entry))


def folders_of(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """A folder and its subfolders, except those of UIDs."""
    yield folder
    if depth:
        for entry in entries_of(folder):
            if not is_uid(entry.name) and entry.is_dir():
                yield from folders_of(Path(entry), depth - 1)


def entries_of(folder: Path) -> list[os.DirEntry]:
    """What is in a folder, sorted by name; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_companion(entry.name)), key=lambda entry: entry.name)
    except OSError:
        return []


def is_study(entry: os.DirEntry) -> bool:
    return is_uid(entry.name) and entry.is_dir()


def images_by_uid(folder: Path) -> tuple[dict[str, Path], list[Fault]]:
    """{SOPInstanceUID: file} of every file below the studies in a folder, and the faults of images with two files."""
    files: dict[str, Path] = {}
    faults = []
    for study in filter(is_study, entries_of(folder)):
        for series in entries_of(Path(study)):
            if not series.is_dir():
                continue
            for entry in entries_of(Path(series)):
                image = name_without_suffix(entry.name)
                if not is_uid(image):
                    continue
                first = files.setdefault(image, Path(entry))
                if first != Path(entry):
                    what = f"is a second file of image {image}, besides {first}"
                    faults.append(Fault("two-files", entry.path, None, what, "keep one of them"))
    return files, faults
