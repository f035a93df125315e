"""The table that says which images are of one person: a CSV, or RSNA's official JSON."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pneumonia.system.csv_rows import read_text
from pneumonia.system.errors import BadInput, Fault, bad_input

PERSON_COLUMNS = ("nih_patient", "person", "group")
NIH_IMAGE = re.compile(r"(\d{8})_\d{3}\.png", re.ASCII)  # the first eight digits are the person
OFFICIAL = "take pneumonia-challenge-dataset-mappings_2018.json from RSNA's page, or a CSV patientId,nih_patient"


def read_people(path: Path) -> dict[str, str]:
    """Image to person. Numbers lose leading zeros, so that CSV and JSON name a person alike.

    Raises:
        BadInput: missing, unreadable, without the columns, with an incomplete row or an image of two people; every
            bad row is named.
    """
    if not path.is_file():
        raise bad_input(path, "there is no such file", "give mapping= the table of images and people", code="mapping")
    text = read_text(path)
    is_json = path.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{")
    people: dict[str, str] = {}
    faults = []
    for row, image, person in _of_json(path, text) if is_json else _of_csv(path, text):
        place = f" (object {row})" if is_json else ""
        line = None if is_json else row
        if not image or not person:
            what = f"{image} has no person" if image else "an incomplete row"
            faults.append(Fault("mapping", str(path), line, what, "complete the row or remove it"))
            continue
        person = person.lstrip("0") or "0" if person.isascii() and person.isdigit() else person
        if people.setdefault(image, person) != person:
            what = f"{image} is of person {people[image]} and of person {person}{place}"
            faults.append(Fault("mapping-contradiction", str(path), line, what, "keep the row that is true"))
    if faults:
        raise BadInput(faults)
    if not people:
        raise bad_input(path, "names no images", OFFICIAL, code="mapping")
    return people


def _of_csv(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Line, image, person."""
    table = csv.reader(io.StringIO(text))
    try:
        names = next(table, [])
        column = next((name for name in PERSON_COLUMNS if name in names), None)
        if "patientId" not in names or column is None:
            what = f"the header is {','.join(names)[:80]!a}"
            fix = f"the columns must be patientId and one of {', '.join(PERSON_COLUMNS)}"
            raise bad_input(path, what, fix, 1, "columns")
        image, person = names.index("patientId"), names.index(column)
        for cells in table:
            if cells:
                whole = len(cells) == len(names)
                yield table.line_num, cells[image] if whole else "", cells[person].strip() if whole else ""
    except csv.Error as error:
        raise bad_input(path, f"is no CSV: {error}", OFFICIAL, table.line_num, "mapping") from error


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
