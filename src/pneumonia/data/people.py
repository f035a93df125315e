"""Read the table of images and their people, a CSV or RSNA's official JSON; check that it fits the images."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.data.mapping_json import OFFICIAL, read_mapping
from pneumonia.system.csv_rows import is_missing, printable, read_table, read_text
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.progress import say

PERSON_COLUMNS = ("nih_patient", "person", "group")
NUMBER = re.compile(r"(\d+)(\.0+)?", re.ASCII)  # pandas writes 7.0 in a column with missing values
MAX_UNMAPPED = 0.05  # share of the images; RSNA's own mapping, matched by pixels, lacks 0.4 %


def read_people(path: Path) -> dict[str, str]:
    """Read {image: person}. Numbers lose leading zeros, so that CSV and JSON have the same names.

    Raises:
        BadInput: the file is missing or unreadable, or has no such columns, an incomplete row or an image of two
            people; every faulty row.
    """
    if not path.is_file():
        raise bad_input(path, "there is no such file", "give mapping= the table of images and people", code="mapping")
    is_json = is_json_file(path)
    people: dict[str, str] = {}
    faults: list[Fault] = []
    for row, image, person in _read_json(path) if is_json else _read_csv(path, faults):
        place = f" (object {row})" if is_json else ""
        line = None if is_json else row
        if not image or is_missing(person):
            what = f"{image} has no person" if image else "the patientId is empty"
            faults.append(Fault("mapping", str(path), line, what, "complete the row or remove it"))
            continue
        person = person_name(person)
        if people.setdefault(image, person) != person:
            what = f"{image} is of person {people[image]} and of person {person}{place}"
            faults.append(Fault("mapping-contradiction", str(path), line, what, "keep the correct row"))
    if faults:
        raise BadInput(sorted(faults, key=lambda fault: fault.row or 0))
    if not people:
        raise bad_input(path, "names no images", OFFICIAL, code="mapping")
    return people


def is_json_file(path: Path) -> bool:
    """Whether a mapping is RSNA's JSON, by its name or its first letter."""
    return path.suffix.lower() == ".json" or read_text(path).lstrip()[:1] in ("[", "{")


def person_name(text: str) -> str:
    """A person's name, the same from every table: NIH's numbers without leading zeros."""
    number = NUMBER.fullmatch(text)
    return number[1].lstrip("0") or "0" if number else text


@dataclass(frozen=True)
class Unmapped:
    """Images that a mapping lacks. count: how many; images: how many there are in all; first: the first of them."""

    count: int
    images: int
    first: str | None

    def as_json(self) -> dict:
        return {"count": self.count, "first": self.first}

    def __str__(self) -> str:
        return (
            f"{self.count} of {self.images} images ({self.count / max(self.images, 1):.1%}), the first is {self.first}"
        )


def find_unmapped(people: Mapping[str, str], ids: Collection[str]) -> Unmapped:
    """Find the `ids` that the mapping lacks."""
    missing = [name for name in ids if name not in people]
    return Unmapped(len(missing), len(ids), missing[0] if missing else None)


def mapping_fault(
    people: Mapping[str, str], ids: Collection[str], mapping: Path, table: str, allow_unmapped: bool
) -> Fault | None:
    """The fault of a mapping that names none of its images, or lacks more than MAX_UNMAPPED of them; None if it fits.

    Args:
        table: name of the table that lists the images, for the message.
        allow_unmapped: any number of images may be missing, except all.
    """
    unmapped = find_unmapped(people, ids)
    if not unmapped.count:
        return None
    if unmapped.count == unmapped.images:
        difference = spelling_difference(people, ids)
        example = difference or f": {printable(next(iter(people)))} here, {printable(unmapped.first)} there"
        what = f"names none of the {unmapped.images} images of {table}{example}"
        return Fault(
            "mapping", str(mapping), None, what, "give the mapping of these images, with ids spelled as theirs"
        )
    if unmapped.count > MAX_UNMAPPED * unmapped.images and not allow_unmapped:
        fix = "complete it, or give allow_unmapped=true: each of them then counts as a separate person"
        difference = spelling_difference(people.keys() - set(ids), [name for name in ids if name not in people])
        return Fault("unmapped", str(mapping), None, f"lacks {unmapped} of {table}{difference}", fix)
    return None


def check_people(
    people: Mapping[str, str], ids: Collection[str], mapping: Path, table: str, allow_unmapped: bool
) -> Unmapped:
    """Find the `ids` that the mapping lacks, and print a warning about them.

    Raises:
        BadInput: the mapping does not fit the images.
    """
    fault = mapping_fault(people, ids, mapping, table, allow_unmapped)
    if fault:
        raise BadInput([fault])
    unmapped = find_unmapped(people, ids)
    if unmapped.count:
        say(f"warning: {mapping}: lacks {unmapped} of {table}: each counts as a separate person")
    return unmapped


def _read_csv(path: Path, faults: list[Fault]) -> Iterator[tuple[int, str, str]]:
    """Yield line, image, person."""
    table = read_table(path)
    image, person = table.column("patientId"), table.column(*PERSON_COLUMNS)
    if image is None or person is None:
        what = f"the header is {printable(','.join(table.names))}"
        fix = f"the columns must be patientId and one of {', '.join(PERSON_COLUMNS)}"
        raise bad_input(path, what, fix, 1, "columns")
    for line, cells in table.rows(faults, strict=False):
        yield line, cells[image], cells[person]


def _read_json(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the object's number from 1, image, person. Objects without an image in both data sets are skipped."""
    for number, image in read_mapping(path):
        if image.person and image.patient_id:
            yield number, image.patient_id, image.person
