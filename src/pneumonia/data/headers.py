"""What the DICOM headers say of every image: from a table, where only that is there, or from the files themselves."""

from pathlib import Path

import pandas as pd

from pneumonia.data.competition import Competition
from pneumonia.data.dicom import read_header
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.processes import cores, mapped
from pneumonia.system.progress import progress

COLUMNS = ["patientId", "rows", "columns", "sex", "age", "view"]
CHUNK = 256  # files that a worker takes at a time


def read_headers(competition: Competition, table: Path | None = None, workers: int = 0) -> pd.DataFrame:
    """One row per training image, as `study_table` takes it.

    Args:
        table: a CSV of headers (PatientID, PatientSex, PatientAge, ViewPosition), may be compressed; None reads the
            DICOMs, without their pixels. A folder without images gives an empty table.

    Raises:
        BadInput: no such table, or a DICOM whose header cannot be read; all of them at once.
    """
    if table is not None:
        try:
            return pd.read_csv(table, dtype={"PatientID": str, "patientId": str}, low_memory=False)
        except (OSError, ValueError, EOFError) as error:
            raise bad_input(
                table, f"cannot be read as a table of headers ({error})", "give a CSV, plain or .gz"
            ) from error
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
        _, header = read_header(path, image)
    except BadInput as error:
        return None, error
    return (image, header.rows, header.columns, header.sex, header.age, header.view), None
