"""DICOM headers of all images: from the files, or from a table where there are no files."""

from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.data.ages import years_of
from pneumonia.data.competition import Competition
from pneumonia.data.image_files import read_header
from pneumonia.system.csv_rows import is_missing, printable, read_table
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.processes import count_cores, map_in_processes
from pneumonia.system.progress import progress, say

# our name: (in an image cache's index, in a table of DICOM headers)
HEADER_COLUMNS = {
    "patientId": ("patientId", "PatientID"),
    "rows": ("rows", "Rows"),
    "columns": ("columns", "Columns"),
    "sex": ("sex", "PatientSex"),
    "age": ("age", "PatientAge"),
    "view": ("view", "ViewPosition"),
}
CHUNK = 256  # files per task of a worker


def read_headers(competition: Competition, table: Path | None = None, workers: int = 0) -> pd.DataFrame:
    """Read the headers: one row per training image, as `study_table` expects.

    Args:
        table: a CSV of headers (PatientID, PatientSex, PatientAge, ViewPosition), plain or .gz; None: the
            headers of the image files. A folder without images gives an empty table.

    Raises:
        BadInput: the table does not exist, or headers cannot be read; every fault.
    """
    if table is not None:
        return read_header_table(table)
    if competition.repeated_images:
        raise BadInput(competition.repeated_images)
    images = competition.train_images.items()
    workers = min(workers or count_cores(), -(-len(images) // CHUNK))
    if workers <= 1:
        pairs = [read_header_row(item) for item in progress(images, "reading headers")]
    else:
        pairs = map_in_processes(read_header_row, images, workers, CHUNK)
        pairs = list(progress(pairs, "reading headers", total=len(images)))
    faults = [fault for _, error in pairs if error for fault in error.faults]
    if faults:
        raise BadInput(faults)
    return pd.DataFrame([row for row, _ in pairs], columns=list(HEADER_COLUMNS))


def read_header_table(path: Path) -> pd.DataFrame:
    """Read a table of headers as text, with our column names; empty cells are None.

    Numbers that cannot be read count as missing, as in a DICOM; a warning says how many.

    Raises:
        BadInput: the file does not exist, has no column of ids, or has an incomplete row.
    """
    faults: list[Fault] = []
    table = read_table(path)
    positions = {name: table.column(*names) for name, names in HEADER_COLUMNS.items()}
    if positions["patientId"] is None:
        fix = "name the images in a column patientId or PatientID"
        raise bad_input(path, f"there is no column of ids in {printable(','.join(table.names))}", fix, 1, "columns")
    positions = {name: position for name, position in positions.items() if position is not None}
    rows, lines = [], []
    for line, cells in table.rows(faults, strict=False):
        rows.append([None if is_missing(cells[position]) else cells[position] for position in positions.values()])
        lines.append(line)
    if faults:
        raise BadInput(faults)
    headers = pd.DataFrame(rows, columns=list(positions), dtype=object)
    for column in ("age", "rows", "columns"):
        if column in headers:
            unread = headers[column].notna() & parse_numbers(headers[column], column).isna()
            if unread.any():
                row = int(np.flatnonzero(unread)[0])
                first = f"the first, {printable(headers[column][row])}, in row {lines[row]}"
                say(f"warning: {path}: {unread.sum()} values of {column} cannot be read ({first}) and count as missing")
    return headers


def check_headers(header: pd.DataFrame, ids: pd.Series, table: Path) -> None:
    """Compare a table of headers with the images; warn of images that it lacks.

    Raises:
        BadInput: it has none of the images.
    """
    known = set(indexed_headers(header).index)
    missing = [name for name in ids if name not in known]
    if len(missing) == len(ids):
        difference = (
            spelling_difference(known, missing)
            or f": {printable(next(iter(known), ''))} here, {printable(missing[0])} there"
        )
        fix = "give the headers of these images, with ids spelled as in the label table"
        raise bad_input(table, f"names none of the {len(ids)} images{difference}", fix, code="headers")
    if missing:
        count = f"{len(missing)} of {len(ids)} images"
        say(f"warning: {table}: lacks {count}, the first is {missing[0]}: their headers are unknown")


def read_header_row(item: tuple[str, Path]) -> tuple[tuple | None, BadInput | None]:
    """Read one (patientId, file) to a row of HEADER_COLUMNS, or its error."""
    image, path = item
    try:
        header = read_header(path, image)
    except BadInput as error:
        return None, error
    return (image, header.rows, header.columns, header.sex, header.age, header.view), None


def indexed_headers(header: pd.DataFrame | None) -> pd.DataFrame:
    """A table of headers under either set of names, to sex, age, view, rows, columns, indexed by patientId."""
    columns = [column for column in HEADER_COLUMNS if column != "patientId"]
    if header is None:
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns}).astype({"age": np.float64})
    source = {
        column: next((name for name in names if name in header), None) for column, names in HEADER_COLUMNS.items()
    }
    if source["patientId"] is None:
        raise bad_input("headers", "there is no column patientId", "name the images in patientId or PatientID", 1)
    headers = pd.DataFrame(index=pd.Index(header[source["patientId"]].astype(str), name="patientId"))
    for column in columns:
        values = pd.Series(
            header[source[column]].to_numpy() if source[column] else None, index=headers.index, dtype=object
        )
        if column in ("sex", "view"):
            headers[column] = values.where(values.notna() & (values != ""), None)
        else:
            headers[column] = parse_numbers(values, column)
    return headers[~headers.index.duplicated()]


def parse_numbers(values: pd.Series, column: str) -> pd.Series:
    """Parse a column to float64; ages in years, also from DICOM's form (045Y, 018M). NaN where there is no number."""
    if column == "age":
        texts = values.map(lambda value: years_of(value) if isinstance(value, str) else value)
        return pd.to_numeric(texts, errors="coerce").astype(np.float64)
    return pd.to_numeric(values, errors="coerce").astype(np.float64)


def sizes_of(headers: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """{patientId: (rows, columns)} of images with a known size."""
    known = headers[headers["rows"].notna() & headers["columns"].notna()]
    return dict(zip(known.index, zip(known["rows"].astype(int), known["columns"].astype(int))))
