"""A competition folder, resolved: which tables and images it has, and the study table that is made of them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import boxes as geometry
from pneumonia import config
from pneumonia.errors import bad_input

LABELS, CLASS_INFO = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
SAMPLE, MAPPING, TEST_LABELS = "stage_2_sample_submission.csv", "mapping.csv", "test_labels.csv"
TRAIN_IMAGES, TEST_IMAGES = "stage_2_train_images", "stage_2_test_images"
CLASS_OF_NAME = {"Normal": "normal", "No Lung Opacity / Not Normal": "not_normal", "Lung Opacity": "opacity"}


@dataclass(frozen=True)
class Competition:
    """mapping, test_labels: None where there is none. train_images, test_images: {patientId: DICOM file}."""

    root: Path
    name: str
    labels: Path
    classes: Path
    sample: Path
    mapping: Path | None
    test_labels: Path | None
    train_images: dict[str, Path]
    test_images: dict[str, Path]

    @cached_property
    def content_key(self) -> str:
        """Names the content: tables byte by byte, images by name and size."""
        digest = hashlib.sha256()
        for table in (self.labels, self.classes, self.sample, self.mapping):
            digest.update(table.read_bytes() if table else b"none")
        for images in (self.train_images, self.test_images):
            for image, path in sorted(images.items()):
                digest.update(f"{image} {path.stat().st_size}\n".encode())
        return digest.hexdigest()[:8]

    def people(self) -> dict[str, str]:
        """Image to person; images that the mapping lacks are not in it."""
        if self.mapping is None:
            return {}
        table = pd.read_csv(self.mapping, dtype=str, keep_default_na=False)
        return dict(zip(table["patientId"], table["nih_patient"]))


def resolve(settings: config.Data) -> Competition:
    """The competition that a command's settings name; the demo is generated where it is not there yet."""
    source = settings.source()
    if source == "demo":
        from pneumonia.data.demo import demo_folder

        return open_competition(demo_folder(settings.chosen_preset()), settings.mapping, "demo")
    return open_competition(config.user_path(source), settings.mapping)


def open_competition(folder: str | Path, mapping: str = "", name: str = "") -> Competition:
    """Raises BadInput for a folder that does not exist or lacks a table."""
    folder = Path(folder)
    if not folder.is_dir():
        raise bad_input(folder, "there is no such folder", "give data= the competition's folder")
    for table in (LABELS, CLASS_INFO, SAMPLE):
        if not (folder / table).is_file():
            raise bad_input(folder / table, "is missing", "download it from the competition's data page")
    mapping_file = config.user_path(mapping) if mapping else folder / MAPPING
    if mapping and not mapping_file.is_file():
        raise bad_input(mapping_file, "there is no such file", "give mapping= the table of images and people")
    return Competition(
        root=folder,
        name=name or folder.resolve().name,
        labels=folder / LABELS,
        classes=folder / CLASS_INFO,
        sample=folder / SAMPLE,
        mapping=mapping_file if mapping_file.is_file() else None,
        test_labels=folder / TEST_LABELS if (folder / TEST_LABELS).is_file() else None,
        train_images={path.stem: path for path in sorted((folder / TRAIN_IMAGES).glob("*.dcm"))},
        test_images={path.stem: path for path in sorted((folder / TEST_IMAGES).glob("*.dcm"))},
    )


def study_table(competition: Competition, clip_boxes: bool = False) -> pd.DataFrame:
    """One row per training image: patientId, target, class, group (the person), boxes (n, 4) x, y, width, height."""
    labels = pd.read_csv(competition.labels, dtype={"patientId": str}, keep_default_na=False, na_values=[""])
    classes = pd.read_csv(competition.classes, dtype=str, keep_default_na=False).drop_duplicates("patientId")
    class_of = dict(zip(classes["patientId"], classes["class"].map(CLASS_OF_NAME)))
    people = competition.people()
    rows = []
    for image, of_image in labels.groupby("patientId", sort=True):
        boxes = of_image.loc[of_image["Target"] == 1, ["x", "y", "width", "height"]].to_numpy(dtype=np.float64)
        if clip_boxes:
            boxes = geometry.clip(boxes, 1024, 1024)
        rows.append((image, int(len(boxes) > 0), class_of[image], people.get(image, image), boxes))
    return pd.DataFrame(rows, columns=["patientId", "target", "class", "group", "boxes"])
