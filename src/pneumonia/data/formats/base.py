"""The interface of a competition's format: it finds the tables and images of a folder.

A format with other tables converts them once to the three tables that every command reads (`write_tables`). Nothing
else depends on the format.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pneumonia import config
from pneumonia.data.image_folders import ImageFolder
from pneumonia.data.labels import CLASSES
from pneumonia.system.csv_rows import format_exactly
from pneumonia.system.errors import Fault
from pneumonia.system.files import atomic_write


@dataclass(frozen=True)
class Given:
    """Files that the command line gives besides the folder; None where it does not.

    mapping: images to people. annotations: RSNA's adjudicated labels. test_ids: list of the test images.
    beside: the folder of the zip that the competition was unpacked from. allow_missing: labelled images may lack their
    file.
    """

    mapping: Path | None = None
    annotations: Path | None = None
    test_ids: Path | None = None
    beside: Path | None = None
    allow_missing: bool = False


@dataclass(frozen=True)
class ReleaseTables:
    """Tables that only RSNA's own release has.

    mapping: RSNA's JSON, with the images' names in its release. readers: labels of single readers.
    kaggle_labels, kaggle_classes: Kaggle's own tables, to compare with. None where there is none.
    """

    mapping: Path | None = None
    readers: Path | None = None
    kaggle_labels: Path | None = None
    kaggle_classes: Path | None = None


@dataclass(frozen=True)
class Files:
    """A competition's files; `check` reports tables that are missing.

    labels, classes, sample: CSV tables in Kaggle's format. mapping: images to people. test_labels: of the demo;
    final_labels: of the competition's final test images, which score a finished submission and never enter a fit; both
    like labels, None where there are none. train_images, test_images: {patientId: file} and faults. train_folder,
    test_folder: for messages. has_uuids: whether ids must be lower-case UUIDs. warnings: what `check` warns of.
    """

    labels: Path
    classes: Path
    sample: Path
    train_folder: Path
    test_folder: Path
    train_images: ImageFolder
    test_images: ImageFolder
    mapping: Path | None = None
    test_labels: Path | None = None
    final_labels: Path | None = None
    has_uuids: bool = True
    warnings: list[Fault] = field(default_factory=list)
    release: ReleaseTables = field(default_factory=ReleaseTables)


@dataclass(frozen=True)
class Format:
    """One layout of a competition's folder.

    meaning: one line for `./run.sh list`. matches: whether a folder has this format, by the names in it. read: returns
    the folder's files; raises BadInput.
    """

    meaning: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, Given], Files]


def write_tables(
    name: str, boxes: Mapping[str, Sequence[Sequence[float]]], classes: Mapping[str, str], test_ids: Iterable[str]
) -> tuple[Path, Path, Path]:
    """Write Kaggle's three tables under cache/, in a folder named by their content.

    Args:
        boxes: {training image: boxes x, y, width, height in pixels, empty for an image without boxes}.
        classes: {training image: normal, not_normal or opacity}.

    Returns:
        The paths of the label table, the class table and the sample submission.
    """
    kinds = ["patientId,class"]
    kinds += [f"{image},{CLASSES.display[classes[image]]}" for image in boxes for _ in range(max(1, len(boxes[image])))]
    sample = ["patientId,PredictionString", *(f"{image},0.5 0 0 100 100" for image in test_ids)]
    texts = {"labels.csv": label_lines(boxes), "classes.csv": kinds, "sample_submission.csv": sample}
    return tuple(write_once(f"{name}-tables", texts))


def write_labels(name: str, boxes: Mapping[str, Sequence[Sequence[float]]]) -> Path:
    """Write one label table under cache/; boxes as in `write_tables`."""
    return write_once(name, {"labels.csv": label_lines(boxes)})[0]


def label_lines(boxes: Mapping[str, Sequence[Sequence[float]]]) -> list[str]:
    lines = ["patientId,x,y,width,height,Target"]
    for image, image_boxes in boxes.items():
        rows = [f"{image},{','.join(map(format_exactly, box))},1" for box in image_boxes]
        lines += rows or [f"{image},,,,,0"]
    return lines


def write_once(name: str, lines: Mapping[str, list[str]]) -> list[Path]:
    """Write {file: its lines} to cache/NAME-KEY/, named by their content; existing files stay."""
    texts = {file: "\n".join([*rows, ""]) for file, rows in lines.items()}
    key = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:8]
    folder = config.REPOSITORY / "cache" / f"{name}-{key}"
    for file, text in texts.items():
        if not (folder / file).is_file():
            with atomic_write(folder / file) as stream:
                stream.write(text)
    return [folder / file for file in texts]
