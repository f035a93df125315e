"""The table that says which images are of one person, a CSV or RSNA's official JSON, and whether it fits the images."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.system.csv_rows import is_missing, printable, read_table, read_text
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.progress import say

PERSON_COLUMNS = ("nih_patient", "person", "group")
NIH_IMAGE = re.compile(r"(\d{8})_\d{3}\.png", re.ASCII)  # the first eight digits are the person
NUMBER = re.compile(r"(\d+)(\.0+)?", re.ASCII)  # pandas writes 7.0 where a column has gaps
OFFICIAL = "take pneumonia-challenge-dataset-mappings_2018.json from RSNA's page, or a CSV patientId,nih_patient"
MOST_UNMAPPED = 0.05  # share of the images; RSNA's own mapping, matched by pixels, lacks 0.4 %


def read_people(path: Path) -> dict[str, str]:
    """Image to person. Numbers lose leading zeros, so that CSV and JSON name a person alike.

    Raises:
        BadInput: missing, unreadable, without the columns, with an incomplete row or an image of two people; every
            bad row is named.
    """
    if not path.is_file():
        raise bad_input(path, "there is no such file", "give mapping= the table of images and people", code="mapping")
    text = read_text(path).lstrip()
    is_json = path.suffix.lower() == ".json" or text[:1] in ("[", "{")
    people: dict[str, str] = {}
    faults: list[Fault] = []
    for row, image, person in _of_json(path, text) if is_json else _of_csv(path, faults):
        place = f" (object {row})" if is_json else ""
        line = None if is_json else row
        if not image or is_missing(person):
            what = f"{image} has no person" if image else "the patientId is empty"
            faults.append(Fault("mapping", str(path), line, what, "complete the row or remove it"))
            continue
        person = person_name(person)
        if people.setdefault(image, person) != person:
            what = f"{image} is of person {people[image]} and of person {person}{place}"
            faults.append(Fault("mapping-contradiction", str(path), line, what, "keep the row that is true"))
    if faults:
        raise BadInput(sorted(faults, key=lambda fault: fault.row or 0))
    if not people:
        raise bad_input(path, "names no images", OFFICIAL, code="mapping")
    return people


def person_name(text: str) -> str:
    """A person as every table names them: NIH's numbers without leading zeros."""
    number = NUMBER.fullmatch(text)
    return number[1].lstrip("0") or "0" if number else text


@dataclass(frozen=True)
class Unmapped:
    """Images whose person a mapping lacks. count: how many; images: of how many; first: one of them."""

    count: int
    images: int
    first: str | None

    def as_json(self) -> dict:
        return {"count": self.count, "first": self.first}

    def __str__(self) -> str:
        return (
            f"{self.count} of {self.images} images ({self.count / max(self.images, 1):.1%}), the first is {self.first}"
        )


def unmapped_of(people: Mapping[str, str], ids: Collection[str]) -> Unmapped:
    """Those of `ids` that the mapping lacks."""
    missing = [name for name in ids if name not in people]
    return Unmapped(len(missing), len(ids), missing[0] if missing else None)


def mapping_fault(
    people: Mapping[str, str], ids: Collection[str], mapping: Path, table: str, allow_unmapped: bool
) -> Fault | None:
    """A mapping that does not fit its images: it names none of them, or lacks more than MOST_UNMAPPED.

    Args:
        table: what lists the images, for the message.
        allow_unmapped: images may lack; not all.
    """
    unmapped = unmapped_of(people, ids)
    if not unmapped.count:
        return None
    if unmapped.count == unmapped.images:
        alike = spelling_difference(people, ids)
        theirs = alike or f": {printable(next(iter(people)))} here, {printable(unmapped.first)} there"
        what = f"names none of the {unmapped.images} images of {table}{theirs}"
        return Fault(
            "mapping", str(mapping), None, what, "give the mapping of these images, with ids spelled as theirs"
        )
    if unmapped.count > MOST_UNMAPPED * unmapped.images and not allow_unmapped:
        fix = "complete it, or give allow_unmapped=true: then each of them counts as a person of its own"
        alike = spelling_difference(people.keys() - set(ids), [name for name in ids if name not in people])
        return Fault("unmapped", str(mapping), None, f"lacks {unmapped} of {table}{alike}", fix)
    return None


def check_people(
    people: Mapping[str, str], ids: Collection[str], mapping: Path, table: str, allow_unmapped: bool
) -> Unmapped:
    """Those of `ids` that the mapping lacks, said in one line on stderr.

    Raises:
        BadInput: the mapping does not fit.
    """
    fault = mapping_fault(people, ids, mapping, table, allow_unmapped)
    if fault:
        raise BadInput([fault])
    unmapped = unmapped_of(people, ids)
    if unmapped.count:
        say(f"warning: {mapping}: lacks {unmapped} of {table}: each counts as a person of its own")
    return unmapped


def _of_csv(path: Path, faults: list[Fault]) -> Iterator[tuple[int, str, str]]:
    """Line, image, person."""
    table = read_table(path)
    image, person = table.column("patientId"), table.column(*PERSON_COLUMNS)
    if image is None or person is None:
        what = f"the header is {printable(','.join(table.names))}"
        fix = f"the columns must be patientId and one of {', '.join(PERSON_COLUMNS)}"
        raise bad_input(path, what, fix, 1, "columns")
    for line, cells in table.rows(faults, strict=False):
        yield line, cells[image], cells[person]


def _of_json(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Number of the object from 1, image, person. An object that names no image of both sets is no part of this."""
    try:
        objects = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise bad_input(path, "is no JSON", OFFICIAL, getattr(error, "lineno", None), "mapping") from error
    if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
        raise bad_input(path, "is no list of objects", OFFICIAL, code="mapping")
    for number, each in enumerate(objects, 1):
        match = next((found for value in _texts(each) if (found := NIH_IMAGE.search(value))), None)
        if match and each.get("subset_img_id"):
            yield number, str(each["subset_img_id"]), match[1]


def _texts(value: object) -> Iterator[str]:
    """Every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
