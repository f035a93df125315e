"""Open a competition folder: its tables and images."""

import hashlib
import sys
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pneumonia import config, schema
from pneumonia.data.formats.base import Files, Given, ReleaseTables
from pneumonia.data.formats.kaggle import LABELS
from pneumonia.data.formats.registry import FORMATS, format_of
from pneumonia.data.image_files import size_of
from pneumonia.data.people import Unmapped, check_people, read_people
from pneumonia.data.release_files import folders_of
from pneumonia.data.release_labels import final_boxes, json_mapping, write_final_labels
from pneumonia.data.tables import UUID, read_labels, read_sample
from pneumonia.system.errors import Fault, bad_input

DEMO = "demo"  # as data=, and the name of the competition that the program generates
FRAME = (1024, 1024)  # rows, columns of an image without a readable file


@dataclass(frozen=True)
class Competition:
    """The files of a competition; the paths of the three tables may not exist.

    mapping: None where there is none. test_labels: of the demo; final_labels: of the competition's final test images;
    None where they are not known. train_images, test_images: {patientId: DICOM, PNG or JPEG file}, in train_folder and
    test_folder. repeated_images: faults of images with two files. has_uuids: whether image ids are lower-case UUIDs.
    needs_images, needs_sample: whether `check.refuse_faults` refuses a folder without them. allow_unmapped: whether the
    mapping may lack more than a few of the images. warnings: of the format, for `check`. release: tables of RSNA's own
    release.
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
    final_labels: Path | None = None
    warnings: list[Fault] = field(default_factory=list)
    release: ReleaseTables = field(default_factory=ReleaseTables)

    @cached_property
    def content_key(self) -> str:
        """Short hash of the content: of the bytes of tables, of the names and sizes of images."""
        digest = hashlib.sha256()
        for table in (self.labels, self.classes, self.sample, self.mapping):
            digest.update(table.read_bytes() if table and table.is_file() else b"none")
        for images in (self.train_images, self.test_images):
            for image, path in sorted(images.items()):
                try:
                    size: int | str = path.stat().st_size
                except FileNotFoundError:  # a link to nowhere, which ingest names
                    size = "missing"
                digest.update(f"{image} {size}\n".encode())
        return digest.hexdigest()[:8]

    @cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """{patientId: (rows, columns)}, filled by `size_of`."""
        return {}

    def size_of(self, image: str) -> tuple[int, int]:
        """Rows and columns of an image by its header; 1024 x 1024 where it is missing or cannot be read."""
        if image not in self.sizes:
            path = self.train_images.get(image) or self.test_images.get(image)
            self.sizes[image] = (size_of(path) if path else None) or FRAME
        return self.sizes[image]

    @cached_property
    def test_ids(self) -> frozenset[str]:
        """Ids of the test images, of which no label may enter a fit: of the sample submission and of their labels."""
        ids: set[str] = set()
        if self.sample.is_file():
            ids.update(read_sample(self.sample, [], self.has_uuids))
        for table in (self.test_labels, self.final_labels):
            if table is not None:
                ids.update(read_labels(table, [], self.has_uuids).mentioned)
        return frozenset(ids)

    def is_id(self, name: str) -> bool:
        """Whether a text can be an image id."""
        return not self.has_uuids or UUID.fullmatch(name) is not None

    def people(self) -> dict[str, str]:
        """{image: person}, without images that the mapping lacks.

        Raises:
            BadInput: the mapping cannot be read, or gives an image two people.
        """
        return self._people

    @cached_property
    def _people(self) -> dict[str, str]:
        return {} if self.mapping is None else read_people(self.mapping)

    def check_mapping(self, ids: Collection[str]) -> Unmapped | None:
        """Find and report the images `ids` that the mapping lacks; None where there is no mapping.

        Raises:
            BadInput: the mapping does not fit the images.
        """
        if self.mapping is None:
            return None
        return check_people(self.people(), ids, self.mapping, self.labels.name, self.allow_unmapped)


def resolve(settings: schema.Data, needs_images: bool = True, needs_sample: bool = True) -> Competition:
    """Open the competition that a command's settings name; the demo is generated on first use.

    Raises:
        BadInput: the folder or zip does not exist, or the zip is unsafe.
    """
    source = settings.source()
    if source == DEMO:
        from pneumonia.demo.folder import demo_folder

        competition = open_competition(demo_folder(settings.chosen_preset()), settings.mapping, DEMO)
    else:
        given = Given(
            annotations=config.user_path(settings.annotations) if settings.annotations else None,
            test_ids=config.user_path(settings.test_ids) if settings.test_ids else None,
            allow_missing=settings.allow_missing,
        )
        competition = open_competition(
            config.user_path(source), settings.mapping, "", needs_images, needs_sample, given
        )
    return replace(competition, allow_unmapped=settings.allow_unmapped)


def open_competition(
    folder: str | Path,
    mapping: str = "",
    name: str = "",
    needs_images: bool = True,
    needs_sample: bool = True,
    given: Given | None = None,
) -> Competition:
    """Open the competition in a folder, or in a zip, which is unpacked once. `check` reports what is missing.

    Args:
        mapping: the table of images and people; "": the one in the folder, if any.
        name: of the competition in paths; "": the name of the folder or zip.
        given: other files from the command line.

    Raises:
        BadInput: the folder or zip does not exist, the zip is unsafe, or the format's files are faulty.
    """
    folder, beside = Path(folder), None
    if not name:
        name = folder.resolve().name if folder.is_dir() else folder.stem
        name = f"{name}-folder" if name == DEMO else name  # what is called DEMO is taken for synthetic
    if folder.is_file():
        from pneumonia.data.archive import unpack_once

        beside = folder.absolute().parent
        folder = find_root(unpack_once(folder, config.REPOSITORY / "cache"), folder)
    if not folder.is_dir():
        raise bad_input(folder, "there is no such folder", "give data= the competition's folder or its zip")
    given = replace(given or Given(), mapping=config.user_path(mapping) if mapping else None, beside=beside)
    files = format_of(folder).read(folder, given)
    final = files.final_labels
    if final is None and given.annotations:
        final = final_labels_of(files, given, name)
    return Competition(
        root=folder,
        name=name,
        labels=files.labels,
        classes=files.classes,
        sample=files.sample,
        mapping=given.mapping or files.mapping,
        test_labels=files.test_labels,
        train_images=files.train_images.files,
        test_images=files.test_images.files,
        train_folder=files.train_folder,
        test_folder=files.test_folder,
        needs_images=needs_images,
        needs_sample=needs_sample,
        repeated_images=files.train_images.faults + files.test_images.faults,
        has_uuids=files.has_uuids,
        final_labels=final,
        warnings=files.warnings,
        release=files.release,
    )


def final_labels_of(files: Files, given: Given, name: str) -> Path:
    """The labels of the test images, from annotations= beside a folder in another format than the release's.

    Raises:
        BadInput: RSNA's mapping is missing, or the annotations lack a test image.
    """
    mapping = json_mapping(given.mapping, files.mapping, annotations=given.annotations)
    return write_final_labels(name, final_boxes(given.annotations, mapping, given.test_ids or files.sample))


def find_root(folder: Path, archive: Path) -> Path:
    """Find the folder of an unpacked zip, at any depth, that matches one of the formats; the outermost where one holds
    the other.

    Raises:
        BadInput: there is none, or several; the message lists what is inside.
    """
    folders = folders_of(folder, depth=sys.maxsize)
    matching = {path for path in folders if any(kind.matches(path) for kind in FORMATS.values())}
    roots = sorted(path for path in matching if matching.isdisjoint(path.parents))
    if len(roots) == 1:
        return roots[0]
    if roots:
        places = ", ".join(root.relative_to(folder).as_posix() for root in roots)
        raise bad_input(archive, f"has the competition's files in several folders: {places}", "unpack one of them")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    inside = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    fix = "take the competition's zip, or unpack it and give the folder"
    raise bad_input(archive, f"has no {LABELS}; inside are {inside or 'no tables and no images'}", fix)
