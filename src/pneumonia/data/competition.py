"""A competition folder, resolved: which tables and images it has."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pneumonia import config, schema
from pneumonia.data.formats.kaggle import LABELS
from pneumonia.data.formats.registry import FORMATS, format_of
from pneumonia.data.image_files import size_of
from pneumonia.data.people import Unmapped, check_people, read_people
from pneumonia.data.tables import UUID
from pneumonia.system.errors import Fault, bad_input

FRAME = (1024, 1024)  # rows, columns of an image that is not there to be asked


@dataclass(frozen=True)
class Competition:
    """The files of a competition; the three tables are where they should be, whether they are there or not.

    mapping, test_labels: None where there is none. train_images, test_images: {patientId: DICOM, PNG or
    JPEG file}, in train_folder and test_folder. repeated_images: images of which a folder has two files.
    has_uuids: whether its images are named by lower-case UUIDs.
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
    train_folder: Path
    test_folder: Path
    needs_images: bool = True
    needs_sample: bool = True
    repeated_images: list[Fault] = field(default_factory=list)
    has_uuids: bool = True
    allow_unmapped: bool = False

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

    def is_id(self, name: str) -> bool:
        """Whether a text can name an image; one that cannot is a fault of its own."""
        return not self.has_uuids or UUID.fullmatch(name) is not None

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
    """The competition in a folder or in its zip, which is unpack_once once. What it lacks is `check`'s to report.

    Args:
        mapping: the table of images and people; "" takes the folder's own if it has one.
        name: what the competition is called in paths; "" takes the name of the folder or zip.

    Raises:
        BadInput: there is no such folder or zip, or the zip is unsafe.
    """
    folder = Path(folder)
    name = name or (folder.resolve().name if folder.is_dir() else folder.stem)
    if folder.is_file():
        from pneumonia.data.archive import unpack_once

        folder = find_root(unpack_once(folder, config.REPOSITORY / "cache"), folder)
    if not folder.is_dir():
        raise bad_input(folder, "there is no such folder", "give data= the competition's folder or its zip")
    files = format_of(folder).read(folder)
    return Competition(
        root=folder,
        name=name,
        labels=files.labels,
        classes=files.classes,
        sample=files.sample,
        mapping=config.user_path(mapping) if mapping else files.mapping,
        test_labels=files.test_labels,
        train_images=files.train_images.files,
        test_images=files.test_images.files,
        train_folder=files.train_folder,
        test_folder=files.test_folder,
        needs_images=needs_images,
        needs_sample=needs_sample,
        repeated_images=files.train_images.faults + files.test_images.faults,
        has_uuids=files.has_uuids,
    )


def find_root(folder: Path, archive: Path) -> Path:
    """The folder of an unpack_once zip that one of the formats knows, however deep it is.

    Raises:
        BadInput: nowhere, or at several places; what is inside is named.
    """
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    roots = sorted(each for each in folders if any(kind.matches(each) for kind in FORMATS.values()))
    if len(roots) == 1:
        return roots[0]
    if roots:
        places = ", ".join(root.relative_to(folder).as_posix() for root in roots)
        raise bad_input(archive, f"has the competition's files in several folders: {places}", "unpack one of them")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    inside = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    fix = "take the competition's zip, or unpack it and give the folder"
    raise bad_input(archive, f"has no {LABELS}; inside are {inside or 'no tables and no images'}", fix)
