"""The table that says which images are of one person."""

import csv
import io
import json
import re
from pathlib import Path

from pneumonia.errors import bad_input
from pneumonia.rows import read_text

PERSON_COLUMNS = ("nih_patient", "person", "group")  # of our mapping, and of a fold table
NIH_IMAGE = re.compile(r"(\d{8})_\d{3}\.png")  # the first eight digits are the person


def read_groups(path: str | Path) -> dict[str, str]:
    """Image to person, from a CSV (patientId and nih_patient, person or group) or RSNA's official JSON mapping.

    Raises:
        BadInput: the file cannot be read, or has no column of people.
    """
    text = read_text(path)
    if Path(path).suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{"):
        return groups_of_json(path, text)
    table = csv.DictReader(io.StringIO(text))
    names = table.fieldnames or []
    column = next((name for name in PERSON_COLUMNS if name in names), None)
    if "patientId" not in names or column is None:
        mend = f"the columns must be patientId and one of {', '.join(PERSON_COLUMNS)}"
        raise bad_input(path, f"the header is '{','.join(names)[:80]}'", mend, 1)
    groups: dict[str, str] = {}
    for row in table:
        name, person = row["patientId"], row[column]
        if not name or not person:
            raise bad_input(path, "an image without a person", "complete the row or drop it", table.line_num)
        if groups.setdefault(name, person) != person:
            raise bad_input(path, f"{name} is of two people", "keep one row per image", table.line_num)
    return groups


def groups_of_json(path: str | Path, text: str) -> dict[str, str]:
    """One object per image: `subset_img_id`, and some value that is an NIH image's name."""
    try:
        objects = json.loads(text)
    except json.JSONDecodeError as error:
        raise bad_input(path, "is no valid JSON", "download it again", row=error.lineno) from error
    groups = {}
    for each in objects if isinstance(objects, list) else []:
        values = each.values() if isinstance(each, dict) else ()
        found = (NIH_IMAGE.fullmatch(value) for value in values if isinstance(value, str))
        match = next((match for match in found if match), None)
        if match and "subset_img_id" in each:
            groups[str(each["subset_img_id"])] = match[1]
    if not groups:
        mend = "take pneumonia-challenge-dataset-mappings_2018.json from RSNA's page"
        raise bad_input(path, "has no subset_img_id with an NIH image", mend)
    return groups
