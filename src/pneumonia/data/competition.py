"""A competition folder, resolved: which tables and images it has."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pneumonia import config, schema
from pneumonia.data.image_files import size_of
from pneumonia.data.image_folders import images_of
from pneumonia.data.people import Unmapped, check_people, read_people
from pneumonia.system.errors import Fault, bad_input

LABELS, CLASS_INFO = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
SAMPLE, TEST_LABELS = "stage_2_sample_submission.csv", "test_labels.csv"
MAPPINGS = ("mapping.csv", "pneumonia-challenge-dataset-mappings_2018.json")  # the demo's, RSNA's
TRAIN_IMAGES, TEST_IMAGES = "stage_2_train_images", "stage_2_test_images"

FRAME = (1024, 1024)  # rows, columns of an image that is not there to be asked


@dataclass(frozen=True)
class Competition:
    """The files of a competition; the three tables are where they should be, whether they are there or not.

    mapping, test_labels: None where there is none. train_images, test_images: {patientId: DICOM, PNG or
    JPEG file}. repeated_images: images of which a folder has two files.
    needs_images, needs_sample: whether `check.refuse_faults` refuses a folder without them.
    allow_unmapped: whether the mapping may lack more than a few of the images.
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
    repeated_images: list[Fault] = field(default_factory=list)
    allow_unmapped: bool = False

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
        """Rows and columns of an image by its header; 1024 x 1024 where there is no image or none to be read."""
        if image not in self.sizes:
            path = self.train_images.get(image) or self.test_images.get(image)
            self.sizes[image] = (size_of(path) if path else None) or FRAME
        return self.sizes[image]

    def people(self) -> dict[str, str]:
        """Image to person; images that the mapping lacks are not in it.

        Raises:
            BadInput: the mapping is no mapping, or gives an image two people.
        """
        return self._people

    @cached_property
    def _people(self) -> dict[str, str]:
        return {} if self.mapping is None else read_people(self.mapping)

    def check_mapping(self, ids: Collection[str]) -> Unmapped | None:
        """Those of the images `ids` whose people the mapping lacks, said in one line; None where there is no mapping.

        Raises:
            BadInput: the mapping does not fit them.
        """
        if self.mapping is None:
            return None
        return check_people(self.people(), ids, self.mapping, self.labels.name, self.allow_unmapped)


def resolve(settings: schema.Data, needs_images: bool = True, needs_sample: bool = True) -> Competition:
    """The competition that a command's settings name; the demo is generated where it is not there yet.

    Raises:
        BadInput: there is no such folder or zip, or the zip is unsafe.
    """
    source = settings.source()
    if source == "demo":
        from pneumonia.demo.folder import demo_folder

        competition = open_competition(demo_folder(settings.chosen_preset()), settings.mapping, "demo")
    else:
        competition = open_competition(
            config.user_path(source), settings.mapping, needs_images=needs_images, needs_sample=needs_sample
        )
    return replace(competition, allow_unmapped=settings.allow_unmapped)


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

        folder = root_in(unpacked(folder, config.REPOSITORY / "cache"), folder)
    if not folder.is_dir():
        raise bad_input(folder, "there is no such folder", "give data= the competition's folder or its zip")
    beside = (folder / each for each in MAPPINGS)
    mapping_file = config.user_path(mapping) if mapping else next((each for each in beside if each.is_file()), None)
    train, test = (images_of(folder / each) for each in (TRAIN_IMAGES, TEST_IMAGES))
    return Competition(
        root=folder,
        name=name,
        labels=folder / LABELS,
        classes=folder / CLASS_INFO,
        sample=folder / SAMPLE,
        mapping=mapping_file,
        test_labels=folder / TEST_LABELS if (folder / TEST_LABELS).is_file() else None,
        train_images=train.files,
        test_images=test.files,
        needs_images=needs_images,
        needs_sample=needs_sample,
        repeated_images=train.faults + test.faults,
    )


def root_in(folder: Path, archive: Path) -> Path:
    """Where an unpacked zip has its tables, however deep its folders are.

    Raises:
        BadInput: nowhere, or at several places; what is inside is named.
    """
    names = (LABELS, CLASS_INFO, SAMPLE, TRAIN_IMAGES, TEST_IMAGES)
    roots = sorted({path.parent for name in names for path in folder.rglob(name)})
    if len(roots) == 1:
        return roots[0]
    if roots:
        places = ", ".join(root.relative_to(folder).as_posix() for root in roots)
        raise bad_input(archive, f"has the competition's files in several folders: {places}", "unpack one of them")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    inside = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    fix = "take the competition's zip, or unpack it and give the folder"
    raise bad_input(archive, f"has no {LABELS}; inside are {inside or 'no tables and no images'}", fix)
