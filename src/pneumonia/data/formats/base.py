"""The interface of a competition's format: it finds the tables and images of a folder.

A format with other tables converts them once to the three tables that every command reads (`write_tables`). Nothing
else depends on the format.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumonia import config
from pneumonia.data.image_folders import ImageFolder
from pneumonia.data.labels import CLASSES
from pneumonia.system.files import atomic_write


@dataclass(frozen=True)
class Files:
    """A competition's files; `check` reports tables that are missing.

    labels, classes, sample: CSV tables in Kaggle's format. mapping: images to people; test_labels: like labels, for a
    final score; None where there is none. train_images, test_images: {patientId: file} and faults. train_folder,
    test_folder: for messages. has_uuids: whether ids must be lower-case UUIDs.
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
    has_uuids: bool = True


@dataclass(frozen=True)
class Format:
    """One layout of a competition's folder.

    meaning: one line for `./run.sh list`. matches: whether a folder has this format, by the names in it. read: returns
    the folder's files; raises BadInput.
    """

    meaning: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], Files]


def write_tables(
    name: str, boxes: dict[str, Sequence[Sequence[float]]], classes: dict[str, str], test_ids: Iterable[str]
) -> tuple[Path, Path, Path]:
    """Write Kaggle's three tables under cache/, in a folder named by their content.

    Args:
        boxes: {training image: boxes x, y, width, height in pixels, empty for an image without boxes}.
        classes: {training image: normal, not_normal or opacity}.

    Returns:
        The paths of the label table, the class table and the sample submission.
    """
    labels, kinds = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for image, image_boxes in boxes.items():
        rows = [f"{image},{','.join(f'{number:g}' for number in box)},1" for box in image_boxes]
        labels += rows or [f"{image},,,,,0"]
        kinds += [f"{image},{CLASSES.display[classes[image]]}"] * max(1, len(rows))
    sample = ["patientId,PredictionString", *(f"{image},0.5 0 0 100 100" for image in test_ids)]
    texts = ["\n".join([*lines, ""]) for lines in (labels, kinds, sample)]
    key = hashlib.sha256("".join(texts).encode()).hexdigest()[:8]
    folder = config.REPOSITORY / "cache" / f"{name}-tables-{key}"
    files = tuple(folder / file for file in ("labels.csv", "classes.csv", "sample_submission.csv"))
    for file, text in zip(files, texts):
        if not file.is_file():
            with atomic_write(file) as stream:
                stream.write(text)
    return files
