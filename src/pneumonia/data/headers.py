"""What the DICOM headers say of every image: from a table, where only that is there, or from the files themselves."""

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

# How an image cache's index and a table of DICOM headers name the same thing.
HEADER_COLUMNS = {
    "patientId": ("patientId", "PatientID"),
    "rows": ("rows", "Rows"),
    "columns": ("columns", "Columns"),
    "sex": ("sex", "PatientSex"),
    "age": ("age", "PatientAge"),
    "view": ("view", "ViewPosition"),
}
CHUNK = 256  # files that a worker takes at a time


def read_headers(competition: Competition, table: Path | None = None, workers: int = 0) -> pd.DataFrame:
    """One row per training image, as `study_table` takes it.

    Args:
        table: a CSV of headers (PatientID, PatientSex, PatientAge, ViewPosition), plain or .gz; None reads the
            images, without their pixels. A folder without images gives an empty table.

    Raises:
        BadInput: no such table, or an image whose header cannot be read; all of them at once.
    """
    if table is not None:
        return read_header_table(table)
    if competition.repeated_images:
        raise BadInput(competition.repeated_images)
    images = competition.train_images.items()
    workers = min(workers or count_cores(), -(-len(images) // CHUNK))
    if workers <= 1:
        read = [header_row(item) for item in progress(images, "reading headers")]
    else:
        found = map_in_processes(header_row, images, workers, CHUNK)
        read = list(progress(found, "reading headers", total=len(images)))
    faults = [fault for _, error in read if error for fault in error.faults]
    if faults:
        raise BadInput(faults)
    return pd.DataFrame([row for row, _ in read], columns=list(HEADER_COLUMNS))


def read_header_table(path: Path) -> pd.DataFrame:
    """A table of headers as text, with our names for its columns; what a cell does not say is None.

    Numbers that cannot be read count as missing too, as in a DICOM; a line says how many.

    Raises:
        BadInput: no such file, no column of ids, or a row that is cut off.
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
    read = pd.DataFrame(rows, columns=list(positions), dtype=object)
    for column in ("age", "rows", "columns"):
        if column in read:
            unread = read[column].notna() & numbers(read[column], column).isna()
            if unread.any():
                row = int(np.flatnonzero(unread)[0])
                first = f"the first, {printable(read[column][row])}, in row {lines[row]}"
                say(f"warning: {path}: {unread.sum()} values of {column} cannot be read ({first}) and count as missing")
    return read


def check_headers(header: pd.DataFrame, ids: pd.Series, table: Path) -> None:
    """A table of headers against the images: says how many it lacks.

    Raises:
        BadInput: it names none of the images.
    """
    known = set(header_facts(header).index)
    missing = [name for name in ids if name not in known]
    if len(missing) == len(ids):
        alike = (
            spelling_difference(known, missing)
            or f": {printable(next(iter(known), ''))} here, {printable(missing[0])} there"
        )
        fix = "give the headers of these images, with ids spelled as in the label table"
        raise bad_input(table, f"names none of the {len(ids)} images{alike}", fix, code="headers")
    if missing:
        say(
            f"warning: {table}: lacks {len(missing)} of {len(ids)} images, the first is {missing[0]}: theirs is unknown"
        )


def header_row(item: tuple[str, Path]) -> tuple[tuple | None, BadInput | None]:
    image, path = item
    try:
        header = read_header(path, image)
    except BadInput as error:
        return None, error
    return (image, header.rows, header.columns, header.sex, header.age, header.view), None


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
        values = pd.Series(header[found[column]].to_numpy() if found[column] else None, index=facts.index, dtype=object)
        if column in ("sex", "view"):
            facts[column] = values.where(values.notna() & (values != ""), None)
        else:
            facts[column] = numbers(values, column)
    return facts[~facts.index.duplicated()]


def numbers(values: pd.Series, column: str) -> pd.Series:
    """float64; ages in years, also of what DICOM writes (045Y, 018M). NaN where there is no number."""
    if column == "age":
        texts = values.map(lambda value: years_of(value) if isinstance(value, str) else value)
        return pd.to_numeric(texts, errors="coerce").astype(np.float64)
    return pd.to_numeric(values, errors="coerce").astype(np.float64)


def sizes_of(facts: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """{patientId: (rows, columns)} of the images whose size is known."""
    known = facts[facts["rows"].notna() & facts["columns"].notna()]
    return dict(zip(known.index, zip(known["rows"].astype(int), known["columns"].astype(int))))
