"""What the DICOM headers say of every image: from a table, where only that is there, or from the files themselves."""

from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia.data.competition import Competition
from pneumonia.data.image_files import read_header
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.processes import cores, mapped
from pneumonia.system.progress import progress

COLUMNS = ["patientId", "rows", "columns", "sex", "age", "view"]
CHUNK = 256  # files that a worker takes at a time


def read_headers(competition: Competition, table: Path | None = None, workers: int = 0) -> pd.DataFrame:
    """One row per training image, as `study_table` takes it.

    Args:
        table: a CSV of headers (PatientID, PatientSex, PatientAge, ViewPosition), may be compressed; None reads the
            images, without their pixels. A folder without images gives an empty table.

    Raises:
        BadInput: no such table, or an image whose header cannot be read; all of them at once.
    """
    if table is not None:
        try:
            return pd.read_csv(table, dtype={"PatientID": str, "patientId": str}, low_memory=False)
        except (OSError, ValueError, EOFError) as error:
            raise bad_input(
                table, f"cannot be read as a table of headers ({error})", "give a CSV, plain or .gz"
            ) from error
    if competition.repeated_images:
        raise BadInput(competition.repeated_images)
    images = competition.train_images.items()
    workers = min(workers or cores(), -(-len(images) // CHUNK))
    if workers <= 1:
        read = [header_row(item) for item in progress(images, "reading headers")]
    else:
        found = mapped(header_row, images, workers, CHUNK)
        read = list(progress(found, "reading headers", total=len(images)))
    faults = [fault for _, error in read if error for fault in error.faults]
    if faults:
        raise BadInput(faults)
    return pd.DataFrame([row for row, _ in read], columns=COLUMNS)


def header_row(item: tuple[str, Path]) -> tuple[tuple | None, BadInput | None]:
    image, path = item
    try:
        header = read_header(path, image)
    except BadInput as error:
        return None, error
    return (image, header.rows, header.columns, header.sex, header.age, header.view), None


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
