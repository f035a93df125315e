"""Published splits: train, val and test images as somebody has published them, so that figures can be compared.

Three forms are read: a folder of lists (train_list.txt, val_list.txt, test_list.txt), one training list of such a
folder (train_10.txt: 10 % of the labels, with the folder's val and test), and a CSV (patientId, split). A line of a
list is an image, with or without folder and ending, and its label 0 or 1 where that is published.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pneumonia import config
from pneumonia.boxes.image_ids import read_sample_ids, spelling_difference
from pneumonia.data.competition import Competition
from pneumonia.data.final_test_set import refuse_test_rows
from pneumonia.system.csv_rows import first_faults, printable, read_table, read_text
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.progress import say

REPORT, PUBLISHED = "report", "published"  # the student report's split, and any other, in place of a fold's number
PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
LIST = re.compile(rf"({'|'.join(PARTS)})(_list|_ids|_images)?", re.IGNORECASE)
TRAINING_LIST = re.compile(r"train(ing)?([_-].*)?", re.IGNORECASE)
FORMS = "a folder of train_list.txt, val_list.txt and test_list.txt, one training list in it, or a CSV patientId,split"


@dataclass(frozen=True)
class PublishedSplit:
    """parts: {image: train, val or test}. targets: {image: 0 or 1}, where the lists say it."""

    path: Path
    parts: dict[str, str]
    targets: dict[str, int]


def split_of_setting(text: str) -> PublishedSplit | None:
    """The split that `split=` names; None for folds ("") and for the student report's split. Raises BadInput."""
    return None if text in ("", REPORT) else read_split(config.user_path(text))


def is_published(path: Path) -> bool:
    """Whether a path has one of the three forms: not a fold table."""
    return path.is_dir() or path.suffix.lower() == ".txt" or "split" in read_table(path).names


def read_split(path: Path) -> PublishedSplit:
    """Read a published split in any of the three forms.

    Raises:
        BadInput: it does not exist, lacks a part, or has faulty rows (all of them are named).
    """
    if not path.exists():
        raise bad_input(path, "there is no such file or folder", f"give split= {REPORT}, {FORMS}")
    faults: list[Fault] = []
    if path.is_dir() or path.suffix.lower() == ".txt":
        rows = list_rows(list_files(path), faults)
    else:
        rows = csv_rows(path, faults)
    parts: dict[str, str] = {}
    targets: dict[str, int] = {}
    for file, line, image, part, target in rows:
        if parts.setdefault(image, part) != part:
            what = f"{image} is in {part} and in {parts[image]}"
            faults.append(Fault("two-parts", str(file), line, what, "keep it in one of them"))
        if target is not None:
            targets[image] = target
    if faults:
        raise BadInput(first_faults(faults, path))
    if "train" not in parts.values() or len(set(parts.values())) < 2:
        what = f"has {' and '.join(sorted(set(parts.values()))) or 'no'} images only"
        raise bad_input(path, what, "a split has train images, and val or test images")
    return PublishedSplit(path, parts, targets)


def list_files(path: Path) -> dict[str, Path]:
    """{part: its list} of a folder, or of a training list and the other lists of its folder. Raises BadInput."""
    folder = path if path.is_dir() else path.parent
    files: dict[str, Path] = {}
    for file in sorted(folder.glob("*.txt")):
        match = LIST.fullmatch(file.stem)
        if match and files.setdefault(PARTS[match[1].lower()], file) != file:
            other = files[PARTS[match[1].lower()]].name
            raise bad_input(folder, f"{file.name} and {other} are lists of the same part", "remove one of them")
    if not path.is_dir():
        if not TRAINING_LIST.fullmatch(path.stem):
            raise bad_input(path, "is not named like a training list", f"give {FORMS}")
        files["train"] = path
    if "train" not in files or len(files) < 2:
        inside = ", ".join(sorted(file.name for file in folder.iterdir())[:8]) or "nothing"
        raise bad_input(folder, f"has no lists of a split; inside: {inside}", f"give {FORMS}")
    return files


def list_rows(files: dict[str, Path], faults: list[Fault]) -> Iterator[tuple[Path, int, str, str, int | None]]:
    """Yield file, line, image, part, label or None of every good line."""
    for part, file in files.items():
        for line, text in enumerate(read_text(file).split("\n"), 1):
            words = text.split()
            if not words:
                continue
            image, label = image_id(words[0]), words[1] if len(words) > 1 else None
            if len(words) > 2 or label not in (None, "0", "1"):
                fix = "write an image and 0, 1 or nothing, with a space between"
                faults.append(Fault("line", str(file), line, f"the line is {printable(text)}", fix))
            else:
                yield file, line, image, part, None if label is None else int(label)


def csv_rows(file: Path, faults: list[Fault]) -> Iterator[tuple[Path, int, str, str, int | None]]:
    """Yield file, line, image, part, None of every good row of a CSV (patientId, split), with any other columns."""
    table = read_table(file)
    image, part = table.column("patientId"), table.column("split")
    if image is None or part is None:
        raise bad_input(file, f"the header is {printable(','.join(table.names))}", f"give {FORMS}", 1, "columns")
    for line, cells in table.rows(faults, strict=False):
        name = PARTS.get(cells[part].lower())
        if name is None or not cells[image]:
            what = f"the split is {printable(cells[part])}" if cells[image] else "the patientId is empty"
            faults.append(Fault("part", str(file), line, what, "a row is an image and train, val or test"))
        else:
            yield file, line, image_id(cells[image]), name, None


def image_id(text: str) -> str:
    """stage_2_train_images/ID.dcm is image ID."""
    return re.sub(r"\.(dcm|dicom|png|jpe?g)$", "", re.split(r"[/\\]", text)[-1], flags=re.IGNORECASE)


# ------------------------------------------------------------------ on a competition


def published_table(split: PublishedSplit, competition: Competition, study: pd.DataFrame) -> pd.DataFrame:
    """Make the fold table of a published split, with the images that the competition has.

    Returns:
        patientId, group, fold (train, val, test), ordered by patientId. Images of the competition's test set are in
        it, if they are in the split's, though they have no row in the study table.

    Raises:
        BadInput: a label of the lists is not the label table's, the split has none of the images to train or score, or
            trains on images of the competition's test set.
    """
    fitted = [(image, None) for image, part in split.parts.items() if part != "test"]
    refuse_test_rows(fitted, competition.test_ids, split.path)
    target = dict(zip(study["patientId"], study["target"]))
    wrong = [image for image, label in split.targets.items() if target.get(image, label) != label]
    if wrong:
        what = f"{len(wrong)} labels are not those of {competition.labels.name}; the first is of {wrong[0]}"
        raise bad_input(split.path, what, "take the split of this competition")
    test_ids = unlabelled_ids(competition)
    in_data = {
        image: part for image, part in split.parts.items() if image in target or (part == "test" and image in test_ids)
    }
    labelled = {part for image, part in in_data.items() if image in target}
    if "train" not in labelled or len(labelled) < 2:
        difference = spelling_difference(split.parts.keys() - target.keys(), target)
        lacks = "training images" if "train" not in labelled else "labelled val or test images"
        what = f"has no {lacks} among the {len(target)} of {competition.labels.name}{difference}"
        raise bad_input(split.path, what, "take the split of this competition")
    if len(in_data) < len(split.parts):
        missing = next(image for image in split.parts if image not in in_data)
        count = len(split.parts) - len(in_data)
        say(f"warning: {split.path}: {count} of its {len(split.parts)} images are not in the data ({missing}, ...)")
    people = competition.people()
    images = sorted(in_data)
    groups = [people.get(image, image) for image in images]
    return pd.DataFrame({"patientId": images, "group": groups, "fold": [in_data[image] for image in images]})


def unlabelled_ids(competition: Competition) -> set[str]:
    """Images of the competition's test set: of its sample submission, or its folder of test images."""
    sample = read_sample_ids(competition.sample, []) if competition.sample.is_file() else {}
    return {*sample, *competition.test_images}


def scored_part(table: pd.DataFrame, study: pd.DataFrame) -> str:
    """The part of a published split that is held out: `test` where the study table has labels for it, else `val`."""
    is_labelled = table["patientId"].isin(set(study["patientId"]))
    return "test" if (is_labelled & (table["fold"] == "test")).any() else "val"


def split_key(table: pd.DataFrame) -> str:
    """Hash of the val and test images: two fold tables with the same one are scored on the same split."""
    rows = sorted(f"{image} {part}" for image, part in zip(table["patientId"], table["fold"]) if part != "train")
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
