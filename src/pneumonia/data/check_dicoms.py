"""Every DICOM of a folder read once; all that cannot be read, with what to do about each."""

from collections.abc import Iterator
from pathlib import Path

from pneumonia.data.ages import OLDEST
from pneumonia.data.image_files import read_scaled
from pneumonia.system.errors import BadInput, Fault
from pneumonia.system.processes import count_cores, map_in_processes
from pneumonia.system.progress import progress

PROBE = 128  # pixels: enough to have decoded the frame, and as fast as decoding gets
CHUNK = 64  # files a worker takes at a time


def dicom_faults(images: dict[str, Path], workers: int = 0) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings of DICOM files, in the order of `images`.

    Args:
        images: {the patientId that the file must have: file}.
        workers: processes; 0 for one per core.
    """
    faults, warnings = [], []
    for wrong, doubtful in progress(looked_at(images, workers), "reading DICOMs", total=len(images)):
        faults += wrong
        warnings += doubtful
    return faults, warnings


def looked_at(images: dict[str, Path], workers: int) -> Iterator[tuple[list[Fault], list[Fault]]]:
    """The files' faults and warnings, file by file; memory does not grow with their number."""
    workers = min(workers or count_cores(), -(-len(images) // CHUNK))
    if workers <= 1:
        yield from map(faults_of_file, images.items())
        return
    yield from map_in_processes(faults_of_file, images.items(), workers, CHUNK)


def faults_of_file(named: tuple[str, Path]) -> tuple[list[Fault], list[Fault]]:
    image, path = named
    try:
        _, header = read_scaled(path, PROBE, expected_id=image)
    except BadInput as error:
        return error.faults, []
    if header.age > OLDEST:
        what = f"PatientAge is {header.age:.0f}"
        return [], [Fault("age", str(path), None, what, "models take it as missing; exploration shows it as it is")]
    return [], []
