"""A competition folder, resolved: which tables and images it has, and the study table that is made of them."""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.boxes import geometry
from pneumonia.data.check_tables import class_faults, label_faults, outside_faults
from pneumonia.data.people import read_people
from pneumonia.data.tables import CLASS_OF_NAME, read_classes, read_labels
from pneumonia.system.errors import BadInput, Fault, bad_input

__all__ = ["CLASS_OF_NAME", "Competition", "open_competition", "plausible_ages", "resolve", "study_table"]

LABELS, CLASS_INFO = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
SAMPLE, TEST_LABELS = "stage_2_sample_submission.csv", "test_labels.csv"
MAPPINGS = ("mapping.csv", "pneumonia-challenge-dataset-mappings_2018.json")  # the demo's, RSNA's
TRAIN_IMAGES, TEST_IMAGES = "stage_2_train_images", "stage_2_test_images"

FRAME = (1024, 1024)  # rows, columns of an image that is not there to be asked
HEADER_BYTES = 1 << 14  # of a DICOM, read to learn its size; the competition's headers have about 1 KB
OLDEST = 110  # years; ages above are errors of the headers
# How an image cache's index and a table of DICOM headers name the same thing.
HEADER_COLUMNS = {
    "patientId": ("patientId", "PatientID"),
    "sex": ("sex", "PatientSex"),
    "age": ("age", "PatientAge"),
    "view": ("view", "ViewPosition"),
    "rows": ("rows", "Rows"),
    "columns": ("columns", "Columns"),
}


@dataclass(frozen=True)
class Competition:
    """The files of a competition; the three tables are where they should be, whether they are there or not.

    mapping, test_labels: None where there is none. train_images, test_images: {patientId: DICOM file}.
    needs_images, needs_sample: whether `check.refuse_faults` refuses a folder without them.
    """

    root: Path
    name: str
    labels: Path
    classes: Path
    sample: Path
    mapping: Path | None
    test_labels: Path | None
    train_images: dict[str, Path]
    test_images: dict[str, Path]
    needs_images: bool = True
    needs_sample: bool = True

    @property
    def train_folder(self) -> Path:
        return self.root / TRAIN_IMAGES

    @property
    def test_folder(self) -> Path:
        return self.root / TEST_IMAGES

    @cached_property
    def content_key(self) -> str:
        """Names the content: tables byte by byte, images by name and size."""
        digest = hashlib.sha256()
        for table in (self.labels, self.classes, self.sample, self.mapping):
            digest.update(table.read_bytes() if table and table.is_file() else b"none")
        for images in (self.train_images, self.test_images):
            for image, path in sorted(images.items()):
                digest.update(f"{image} {path.stat().st_size}\n".encode())
        return digest.hexdigest()[:8]

    @cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """What `size_of` has learned so far."""
        return {}

    def size_of(self, image: str) -> tuple[int, int]:
        """Rows and columns of an image by its DICOM header; 1024 x 1024 where there is no image or none to be read."""
        if image not in self.sizes:
            path = self.train_images.get(image) or self.test_images.get(image)
            self.sizes[image] = (size_in_header(path) if path else None) or FRAME
        return self.sizes[image]

    def people(self) -> dict[str, str]:
        """Image to person; images that the mapping lacks are not in it.

        Raises:
            BadInput: the mapping is no mapping, or gives an image two people.
        """
        return {} if self.mapping is None else read_people(self.mapping)


def resolve(settings: schema.Data, needs_images: bool = True, needs_sample: bool = True) -> Competition:
    """The competition that a command's settings name; the demo is generated where it is not there yet.

    Raises:
        BadInput: there is no such folder or zip, or the zip is unsafe.
    """
    source = settings.source()
    if source == "demo":
        from pneumonia.demo.folder import demo_folder

        return open_competition(demo_folder(settings.chosen_preset()), settings.mapping, "demo")
    return open_competition(
        config.user_path(source), settings.mapping, needs_images=needs_images, needs_sample=needs_sample
    )


def open_competition(
    folder: str | Path, mapping: str = "", name: str = "", needs_images: bool = True, needs_sample: bool = True
) -> Competition:
    """The competition in a folder or in its zip, which is unpacked once. What it lacks is `check`'s to report.

    Args:
        mapping: the table of images and people; "" takes the folder's own if it has one.
        name: what the competition is called in paths; "" takes the name of the folder or zip.

    Raises:
        BadInput: there is no such folder or zip, or the zip is unsafe.
    """
    folder = Path(folder)
    name = name or (folder.resolve().name if folder.is_dir() else folder.stem)
    if folder.is_file():
        from pneumonia.data.archive import unpacked

        folder = root_in(unpacked(folder, config.REPOSITORY / "cache"))
    if not folder.is_dir():
        raise bad_input(folder, "there is no such folder", "give data= the competition's folder or its zip")
    beside = (folder / each for each in MAPPINGS)
    mapping_file = config.user_path(mapping) if mapping else next((each for each in beside if each.is_file()), None)
    return Competition(
        root=folder,
        name=name,
        labels=folder / LABELS,
        classes=folder / CLASS_INFO,
        sample=folder / SAMPLE,
        mapping=mapping_file,
        test_labels=folder / TEST_LABELS if (folder / TEST_LABELS).is_file() else None,
        train_images=images_of(folder / TRAIN_IMAGES),
        test_images=images_of(folder / TEST_IMAGES),
        needs_images=needs_images,
        needs_sample=needs_sample,
    )


def root_in(folder: Path) -> Path:
    """Where an unpacked zip has its tables: at its top, or in the only folder that a zip made by hand has there."""
    inside = [each for each in folder.iterdir() if each.is_dir() and (each / LABELS).is_file()]
    return inside[0] if len(inside) == 1 and not (folder / LABELS).is_file() else folder


def images_of(folder: Path) -> dict[str, Path]:
    """{patientId: file} of the DICOMs in a folder, by name; empty where there is no folder."""
    return {path.stem: path for path in sorted(folder.glob("*.dcm"))}


def study_table(competition: Competition, clip_boxes: bool = False, header: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per training image, ordered by patientId.

    Args:
        clip_boxes: cut boxes to their image instead of refusing them.
        header: what the DICOM headers say, one row per image: patientId, sex, age, view, rows, columns, or the DICOM's
            names for them (PatientID, PatientSex, ...). Columns and images that it lacks are missing in the result.

    Returns:
        patientId; target: 0 or 1; class: normal, not_normal or opacity; group: the person, or the image itself where
        the mapping lacks it; sex, view: text or None; age: float64 years as they stand in the header, NaN where
        missing (see `plausible_ages`); boxes: (n, 4) float64 x, y, width, height in pixels of the original image.

    Raises:
        BadInput: every fault of the label and class tables and of the mapping.
    """
    facts = header_facts(header)
    competition.sizes.update(sizes_of(facts))
    faults: list[Fault] = []
    labels = read_labels(competition.labels, faults)
    classes = read_classes(competition.classes, faults)
    faults += label_faults(labels, competition.labels)
    faults += outside_faults(labels, competition.labels, clip_boxes, competition.size_of)
    faults += class_faults(labels, classes, competition)
    if faults:
        raise BadInput(faults)
    boxes: dict[str, list] = {name: [] for name in sorted(labels.mentioned)}
    for name, box in zip(labels.ids, labels.boxes):
        if box is not None:
            boxes[name].append(box)
    class_of, people = dict(zip(classes.ids, classes.classes)), competition.people()
    arrays = [np.array(of_image, dtype=np.float64).reshape(-1, 4) for of_image in boxes.values()]
    if clip_boxes:
        arrays = [geometry.clip(xywh, *reversed(competition.size_of(name))) for name, xywh in zip(boxes, arrays)]
    table = pd.DataFrame(
        {
            "patientId": pd.Series(list(boxes), dtype=object),
            "target": np.array([int(len(xywh) > 0) for xywh in arrays], dtype=np.int64),
            "class": [class_of[name] for name in boxes],
            "group": [people.get(name, name) for name in boxes],
        }
    )
    described = facts.reindex(table["patientId"])
    for column in ("sex", "age", "view"):
        table[column] = described[column].to_numpy()
    table["boxes"] = pd.Series(arrays, dtype=object)
    return table


def size_in_header(path: Path) -> tuple[int, int] | None:
    """Rows and columns as a DICOM's header says, None where it cannot be read, which is the DICOM check's to report.

    Only the file's first bytes are read and parsed, so that a deflated one has no room to inflate.
    """
    import pydicom

    try:
        with open(path, "rb") as file:
            head = io.BytesIO(file.read(HEADER_BYTES))
        header = pydicom.dcmread(head, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        size = int(header.Rows), int(header.Columns)
    except Exception:  # damaged bytes make pydicom raise almost anything
        return None
    return size if min(size) > 0 else None


def plausible_ages(ages: pd.Series) -> pd.Series:
    """Ages in years with the impossible ones missing: what a model may learn from."""
    return ages.where(ages <= OLDEST)


def header_facts(header: pd.DataFrame | None) -> pd.DataFrame:
    """sex, age, view, rows, columns by patientId, of a table of headers under either set of names."""
    columns = [column for column in HEADER_COLUMNS if column != "patientId"]
    if header is None:
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns}).astype({"age": np.float64})
    found = {column: next((name for name in names if name in header), None) for column, names in HEADER_COLUMNS.items()}
    if found["patientId"] is None:
        raise bad_input("headers", "there is no column patientId", "name the images in patientId or PatientID", 1)
    facts = pd.DataFrame(index=pd.Index(header[found["patientId"]].astype(str), name="patientId"))
    for column in columns:
        values = header[found[column]].to_numpy() if found[column] else None
        if column in ("sex", "view"):
            texts = pd.Series(values, index=facts.index, dtype=object)
            facts[column] = texts.where(texts.notna() & (texts != ""), None)
        else:
            numbers = pd.Series(values, index=facts.index, dtype=object)
            facts[column] = pd.to_numeric(numbers, errors="coerce").astype(np.float64)
    return facts[~facts.index.duplicated()]


def sizes_of(facts: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """{patientId: (rows, columns)} of the images whose size is known."""
    known = facts[facts["rows"].notna() & facts["columns"].notna()]
    return dict(zip(known.index, zip(known["rows"].astype(int), known["columns"].astype(int))))
