"""Read every image of a folder once; report each that cannot be read, with its fix."""

from collections.abc import Iterator
from pathlib import Path

from pneumonia.data.ages import OLDEST
from pneumonia.data.image_files import read_scaled
from pneumonia.system.errors import BadInput, Fault
from pneumonia.system.processes import count_cores, map_in_processes
from pneumonia.system.progress import progress

PROBE = 128  # pixels: decodes the whole frame, at the fastest scale
CHUNK = 64  # files per task of a worker


def dicom_faults(images: dict[str, Path], workers: int = 0) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings of image files, in the order of `images`.

    Args:
        images: {the patientId that the file must have: file}.
        workers: processes; 0 for one per core.
    """
    faults, warnings = [], []
    for file_faults, file_warnings in progress(check_files(images, workers), "reading DICOMs", total=len(images)):
        faults += file_faults
        warnings += file_warnings
    return faults, warnings


def check_files(images: dict[str, Path], workers: int) -> Iterator[tuple[list[Fault], list[Fault]]]:
    """Yield faults and warnings file by file; memory does not grow with their number."""
    workers = min(workers or count_cores(), -(-len(images) // CHUNK))
    if workers <= 1:
        yield from map(check_file, images.items())
        return
    yield from map_in_processes(check_file, images.items(), workers, CHUNK)


def check_file(item: tuple[str, Path]) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings of one (patientId, file)."""
    image, path = item
    try:
        _, header = read_scaled(path, PROBE, expected_id=image)
    except BadInput as error:
        return error.faults, []
    if header.age > OLDEST:
        what = f"PatientAge is {header.age:.0f}"
        return [], [Fault("age", str(path), None, what, "models treat it as missing; eda shows it as it is")]
    return [], []
