"""Refuse rows of the competition's test images wherever something is fitted: their labels are for one look."""

from collections.abc import Collection, Iterable
from pathlib import Path

from pneumonia.boxes.image_ids import read_ids, read_sample_ids
from pneumonia.data.formats.kaggle import SAMPLE, TEST_LABELS
from pneumonia.data.release_labels import read_test_ids
from pneumonia.data.tables import read_labels, uuid_in
from pneumonia.system.csv_rows import first_faults
from pneumonia.system.errors import BadInput, Fault

WRITTEN_SAMPLE = "sample_submission.csv"  # beside tables that formats/base.py wrote


def find_test_rows(rows: Iterable[tuple[str, int | None]], test_ids: Collection[str], file: Path) -> list[Fault]:
    """A fault for every row of a test image.

    Args:
        rows: (image, line of the file) of what would be fitted.
    """
    fix = "remove it: the labels of the test images score a finished submission and never enter a fit"
    listed = {*test_ids, *map(uuid_in, test_ids)}  # ids in capitals, or inside a path, are found too
    return [
        Fault("test-image", str(file), line, f"{name} is an image of the test set", fix)
        for name, line in rows
        if name in listed or uuid_in(name) in listed
    ]


def refuse_test_rows(rows: Iterable[tuple[str, int | None]], test_ids: Collection[str], file: Path) -> None:
    """Raises BadInput with every row of a test image."""
    faults = find_test_rows(rows, test_ids, file)
    if faults:
        raise BadInput(first_faults(faults, file))


def ids_of_test_set(labels: Path, test_ids: Path | None = None) -> set[str]:
    """The ids of the test images that belong to a label table: in the list that is given, in the sample submission
    beside it and in the test labels beside it."""
    ids = {*read_test_ids(test_ids), *read_ids(test_ids)} if test_ids else set()
    for name in (SAMPLE, WRITTEN_SAMPLE):
        if (file := labels.parent / name).is_file():
            ids.update(read_sample_ids(file, []))
    if (file := labels.parent / TEST_LABELS).is_file():
        ids.update(read_labels(file, [], uuids=False).mentioned)
    return ids
