"""The study table: one row per training image, from a competition's tables and DICOM headers."""

import numpy as np
import pandas as pd

from pneumonia.boxes import geometry
from pneumonia.data.check_tables import class_faults, outside_faults
from pneumonia.data.competition import Competition
from pneumonia.data.final_test_set import find_test_rows
from pneumonia.data.headers import indexed_headers, sizes_of
from pneumonia.data.tables import read_classes, read_labels
from pneumonia.system.errors import BadInput, Fault


def study_table(competition: Competition, clip_boxes: bool = False, header: pd.DataFrame | None = None) -> pd.DataFrame:
    """Build the study table: one row per training image, ordered by patientId.

    Args:
        clip_boxes: clip boxes to their image instead of refusing them.
        header: DICOM headers, one row per image: patientId, sex, age, view, rows, columns, or DICOM's names for them
            (PatientID, PatientSex, ...). Columns and images that it lacks are missing in the result.

    Returns:
        patientId; target: 0 or 1; class: normal, not_normal or opacity; group: the person, or the image itself where
        the mapping lacks it; sex, view: text or None; age: float64 years as in the header, NaN where
        missing (see `plausible_ages`); boxes: (n, 4) float64 x, y, width, height in pixels of the original image.

    Raises:
        BadInput: every fault of the label and class tables and of the mapping; a row of a test image.
    """
    headers = indexed_headers(header)
    competition.sizes.update(sizes_of(headers))
    faults: list[Fault] = []
    labels = read_labels(competition.labels, faults, competition.has_uuids)
    classes = read_classes(competition.classes, faults, competition.has_uuids)
    faults += outside_faults(labels, competition.labels, clip_boxes, competition.size_of)
    faults += class_faults(labels, classes, competition)
    faults += find_test_rows(labels.mentioned.items(), competition.test_ids, competition.labels)
    if faults:
        raise BadInput(faults)
    boxes: dict[str, list] = {name: [] for name in sorted(labels.mentioned)}
    for name, box in zip(labels.ids, labels.boxes):
        if box is not None:
            boxes[name].append(box)
    class_of, people = dict(zip(classes.ids, classes.classes)), competition.people()
    arrays = [np.array(rows, dtype=np.float64).reshape(-1, 4) for rows in boxes.values()]
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
    headers = headers.reindex(table["patientId"])
    for column in ("sex", "age", "view"):
        table[column] = headers[column].to_numpy()
    table["boxes"] = pd.Series(arrays, dtype=object)
    return table
