"""Ingest: DICOMs to an image cache, complete or not at all. After a kill the next call continues.

A finished cache is opened without reading pixels: the size and time of each DICOM are compared with the index, and the
checksum where they differ. A DICOM that has changed is read again, the others are kept. Squares are compared with their
checksums when an interrupted ingest continues, and when `verify` asks for it.

Spawned processes read blocks of images, write the squares themselves and return index rows, which one process appends
to the journal.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pneumonia.data import cache as layout
from pneumonia.data.cache import Cache, Damaged
from pneumonia.data.competition import Competition
from pneumonia.data.image_files import read_scaled
from pneumonia.system.errors import BadInput, EnvironmentFailure, Fault, bad_input
from pneumonia.system.files import DISK_FULL, exclusive_lock, sha256, write_at
from pneumonia.system.processes import count_cores, map_in_processes
from pneumonia.system.progress import progress, say

WORTH_A_PROCESS = 512  # images: starting a process takes about as long as reading these
BLOCK = 16  # images that a process reads before it reports; an interruption loses at most these
SPARE_BYTES = 1 << 20  # for small files
RECORD_BYTES = 2048  # upper bound per image in journal and index


class Source(NamedTuple):
    """One image to cache: its `row` in the cache, and its file."""

    row: int
    image: str
    split: str
    path: Path


def ingest(
    competition: Competition,
    image_size: int,
    workers: int = 0,
    folder: str | Path | None = None,
    verify: bool = False,
) -> Cache:
    """Cache the competition's images as squares of at least `image_size` pixels.

    Args:
        workers: processes that read DICOMs; 0: up to one per core, where that is faster; 1: this process.
        folder: for the cache, at exactly `image_size`; None: a folder under cache/, named by the competition, its
            content and the cached size.
        verify: compare every square with its checksum, and read again what is damaged.

    Raises:
        BadInput: every DICOM that cannot be read (the others are cached), or `folder` has squares of another size.
        EnvironmentFailure: the disk is or would be full; finished images are kept.
    """
    if image_size < 1:
        raise bad_input("image_size", f"{image_size} is not an image size", "give pixels, 1 or more", code="bad-size")
    if folder is None:
        image_size = layout.cached_size(image_size)
        folder = layout.default_folder(competition.name, competition.content_key, image_size)
    folder = Path(folder)
    images = [("train", *each) for each in competition.train_images.items()]
    images += [("test", *each) for each in competition.test_images.items()]
    sources = [Source(row, image, split, path) for row, (split, image, path) in enumerate(images)]
    with readable_errors(folder), exclusive_lock(folder / "lock", "the image cache", waits=True):
        cache = open_finished(folder, image_size)
        if cache and not verify and is_unchanged(cache, sources):
            return cache
        records = layout.index_records(cache) if cache else layout.read_journal(folder, image_size)
        return complete_cache(folder, image_size, sources, records, workers, compare=verify or cache is None)


def open_finished(folder: Path, size: int) -> Cache | None:
    """Open the finished cache in a folder; None where there is none or it is damaged.

    Raises:
        BadInput: its squares have another size.
    """
    try:
        cache = Cache(folder)
    except Damaged:
        return None
    if cache.size != size:
        what = f"holds images of {cache.size} x {cache.size} pixels"
        raise bad_input(folder, what, f"choose another out= for image_size={size}, or remove it")
    return cache


def is_unchanged(cache: Cache, sources: list[Source]) -> bool:
    """Whether the cache has these images, and every file has the same size and time as before."""
    index = cache.index
    if index["patientId"].tolist() != [source.image for source in sources]:
        return False
    if index["split"].tolist() != [source.split for source in sources]:
        return False
    rows = zip(sources, index["bytes"].tolist(), index["mtime_ns"].tolist())
    try:
        return all(
            (stat := source.path.stat()).st_size == size and stat.st_mtime_ns == time for source, size, time in rows
        )
    except OSError:
        return False


def complete_cache(
    folder: Path, size: int, sources: list[Source], records: dict[int, dict], workers: int, compare: bool
) -> Cache:
    """Read images that are missing or have changed, and finish the cache."""
    valid = valid_records(folder, size, sources, records, compare)
    missing = [source for source in sources if source.row not in valid]
    if valid and missing:
        say(f"ingest: {len(valid)} of {len(sources)} images are in {folder}, {len(missing)} will be read")
    refuse_full_disk(folder, size, len(sources))
    (folder / "cache.json").unlink(missing_ok=True)  # from here on the cache is not finished
    layout.write_journal(folder, size, valid)
    allocate(layout.pixel_file(folder, size), len(sources) * size**2)
    faults: list[Fault] = []
    with open(layout.journal_file(folder, size), "a", encoding="utf-8") as lines:
        for records, block_faults in progress(read_blocks(folder, size, missing, workers), "ingest", unit="batch"):
            lines.writelines(layout.journal_line(row, record) for row, record in records.items())
            lines.flush()
            valid |= records
            faults += block_faults
    if faults:
        raise BadInput(faults)
    with open(layout.pixel_file(folder, size), "rb") as pixels:
        os.fsync(pixels.fileno())
    layout.finish(folder, size, valid)
    return Cache(folder)


def valid_records(
    folder: Path, size: int, sources: list[Source], records: dict[int, dict], compare: bool
) -> dict[int, dict]:
    """Records whose DICOM is unchanged, with its present time; with `compare`, whose square is unchanged too."""
    valid = {}
    for source in sources:
        record = records.get(source.row)
        if record is None or (record["patientId"], record["split"]) != (source.image, source.split):
            continue
        try:
            stat = source.path.stat()
            if (stat.st_size, stat.st_mtime_ns) != (record["bytes"], record["mtime_ns"]):
                if stat.st_size != record["bytes"] or sha256(source.path) != record["sha256"]:
                    continue
                record = record | {"mtime_ns": stat.st_mtime_ns}
        except OSError:
            continue  # reading it reports the fault
        valid[source.row] = record
    if not compare:
        return valid
    checksums = ((row, record["pixels_crc32"]) for row, record in valid.items())
    intact = layout.intact_squares(layout.pixel_file(folder, size), size, checksums)
    return {row: record for row, record in valid.items() if row in intact}


# ------------------------------------------------------------------ reading


def read_blocks(
    folder: Path, size: int, sources: list[Source], workers: int
) -> Iterator[tuple[dict[int, dict], list[Fault]]]:
    """Yield records and faults of each block when it is done."""
    blocks = [sources[start : start + BLOCK] for start in range(0, len(sources), BLOCK)]
    jobs = [(layout.pixel_file(folder, size), size, block) for block in blocks]
    workers = min(workers or min(count_cores(), len(sources) // WORTH_A_PROCESS), len(jobs))
    if workers <= 1:
        yield from map(read_block, jobs)
        return
    yield from map_in_processes(read_block, jobs, workers)


def read_block(job: tuple[Path, int, list[Source]]) -> tuple[dict[int, dict], list[Fault]]:
    """Read some images and write their squares, one at a time; returns {row: record} and the faults."""
    file, size, sources = job
    records, faults = {}, []
    descriptor = os.open(file, os.O_WRONLY)
    try:
        for source in sources:
            try:
                pixels, record = read_image(source, size)
            except BadInput as error:
                faults += error.faults
                continue
            write_at(descriptor, memoryview(pixels).cast("B"), source.row * size**2)
            records[source.row] = record
    finally:
        os.close(descriptor)
    return records, faults


def read_image(source: Source, size: int) -> tuple[np.ndarray, dict]:
    """Read an image: (size, size) uint8, and its record. The file's time is taken first, so that a change during
    reading is noticed later."""
    try:
        stat = source.path.stat()
    except OSError as error:
        raise bad_input(source.path, f"cannot be read: {error.strerror}", "get the file again") from error
    pixels, header = read_scaled(source.path, size, source.image)
    pixels = np.ascontiguousarray(pixels)
    record = {"patientId": source.image, "split": source.split}
    record |= {name: getattr(header, name) for name in layout.HEADER_FIELDS}
    record |= {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": header.sha256}
    return pixels, record | {"pixels_crc32": layout.square_crc32(pixels)}


# ------------------------------------------------------------------ disk


def refuse_full_disk(folder: Path, size: int, count: int) -> None:
    """Raise EnvironmentFailure before any work if the cache cannot fit on the disk."""
    file = layout.pixel_file(folder, size)
    existing = file.stat().st_blocks * 512 if file.exists() else 0
    needed = max(0, count * size**2 - existing) + count * RECORD_BYTES + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentFailure(
            f"{folder}: {count} images of {size} x {size} need {needed / 1e6:.0f} MB more and {free / 1e6:.0f} MB are"
            " free; free space, or choose a smaller image_size"
        )


def allocate(file: Path, length: int) -> None:
    """Reserve the pixel file's space on the disk, in case the disk fills up later."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(descriptor, length)
        try:
            if length:
                os.posix_fallocate(descriptor, 0, length)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            # this file system cannot reserve space; a full disk shows when writing
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def readable_errors(folder: Path) -> Iterator[None]:
    """Turn errors of a full or read-only disk into EnvironmentFailure."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            text = (
                f"{folder}: the disk is full ({error.strerror}); free space and run it again; finished images are kept"
            )
            raise EnvironmentFailure(text) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
            raise EnvironmentFailure(f"{folder}: cannot be written: {error.strerror}") from error
        raise
