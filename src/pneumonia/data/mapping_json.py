"""Read pneumonia-challenge-dataset-mappings_2018.json: RSNA's images, their names on Kaggle, and NIH's images.

One object per image: StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID of RSNA's own release, subset_img_id
(Kaggle's patientId), img_id (NIH's image, whose first eight digits are the person), and more.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pneumonia.data.json_file import parse_json
from pneumonia.system.errors import bad_input

NIH_IMAGE = re.compile(r"(\d{8})_\d{3}\.png", re.ASCII)  # the first eight digits are the person
OFFICIAL = "take pneumonia-challenge-dataset-mappings_2018.json from RSNA's page, or a CSV patientId,nih_patient"


class MappedImage(NamedTuple):
    """One object of the mapping; "" for what it lacks. person: NIH's number, eight digits."""

    patient_id: str
    person: str
    study: str
    sop: str


def read_mapping(path: Path) -> list[tuple[int, MappedImage]]:
    """Read (number of the object from 1, image) of every object that names an image of RSNA's.

    Raises:
        BadInput: the file cannot be read, or is not a list of objects.
    """
    objects = parse_json(path, OFFICIAL, to_image, code="mapping")
    if not isinstance(objects, list) or not all(isinstance(item, dict | MappedImage) for item in objects):
        raise bad_input(path, "is not a list of objects", OFFICIAL, code="mapping")
    return [(number, item) for number, item in enumerate(objects, 1) if isinstance(item, MappedImage)]


def to_image(item: dict) -> MappedImage | dict:
    """An object of the mapping as a MappedImage, which takes a tenth of the memory; other objects as they are."""
    if not (item.get("subset_img_id") or item.get("SOPInstanceUID")):
        return item
    person = next((match[1] for text in texts_in(item) if (match := NIH_IMAGE.search(text))), "")
    names = (str(item.get(key) or "") for key in ("subset_img_id", "StudyInstanceUID", "SOPInstanceUID"))
    patient_id, study, sop = names
    return MappedImage(patient_id, person, study, sop)


def texts_in(value: object) -> Iterator[str]:
    """Yield every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts_in(each)
