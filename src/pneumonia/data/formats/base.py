"""What the reader of a competition's format gives: which files are its tables and images.

A format with other tables writes them once as the three that every command reads (`write_tables`). From there on
nothing knows which format it was.
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
    """A competition's files; tables that are not there are faults that `check` reports.

    labels, classes, sample: CSV tables as Kaggle's competition has them. mapping: image to person; test_labels: like
    labels, for a final score; None where there is none. train_images, test_images: {patientId: file}, with the folders
    train_folder and test_folder to name in messages. has_uuids: whether ids must be lower-case UUIDs.
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
    """One way in which a competition's folder may look.

    meaning: one line for `./run.sh list`. matches: whether a folder is of this format, from the names in it. read: the
    folder's files; raises BadInput.
    """

    meaning: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], Files]


def write_tables(
    name: str, boxes: dict[str, Sequence[Sequence[float]]], classes: dict[str, str], test_ids: Iterable[str]
) -> tuple[Path, Path, Path]:
    """Write Kaggle's three tables under cache/, in a folder named by their content.

    Args:
        boxes: {training image: its boxes x, y, width, height in pixels, empty for an image without any}.
        classes: {training image: normal, not_normal or opacity}.

    Returns:
        The paths of the label table, the class table and the sample submission.
    """
    display = dict(zip(CLASSES.names, CLASSES.display_names))
    labels, kinds = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for image, own in boxes.items():
        labels += [f"{image},{','.join(f'{number:g}' for number in box)},1" for box in own] or [f"{image},,,,,0"]
        kinds += [f"{image},{display[classes[image]]}"] * max(1, len(own))
    sample = ["patientId,PredictionString", *(f"{image},0.5 0 0 100 100" for image in test_ids)]
    texts = ["\n".join([*lines, ""]) for lines in (labels, kinds, sample)]
    key = hashlib.sha256("".join(texts).encode()).hexdigest()[:8]
    folder = config.REPOSITORY / "cache" / f"{name}-tables-{key}"
    files = tuple(folder / each for each in ("labels.csv", "classes.csv", "sample_submission.csv"))
    for file, text in zip(files, texts):
        if not file.is_file():
            with atomic_write(file) as stream:
                stream.write(text)
    return files
