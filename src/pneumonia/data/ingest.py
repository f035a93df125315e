"""DICOMs to image cache: whole or not at all. Killed at any moment, the next call goes on where it stood.

A finished cache is opened without reading a pixel: each DICOM's size and time are compared with the index, and its
checksum where those differ. A DICOM that has changed is read again, the others stay. Squares are compared with their
checksums where an interrupted ingest goes on, and where `verify` asks for it.

Work is done in blocks of images by spawned processes that write their squares themselves and hand back index rows,
which one process appends to the journal.
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
from pneumonia.system.files import exclusive_lock, sha256
from pneumonia.system.processes import count_cores, map_in_processes
from pneumonia.system.progress import progress, say

WORTH_A_PROCESS = 512  # images: starting a process takes about as long as reading so many
BLOCK = 16  # images that a process reads before it reports: what an interruption can cost each process
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SPARE_BYTES = 1 << 20  # for what is small
RECORD_BYTES = 2048  # per image in journal and index, generously


class Source(NamedTuple):
    """One image to be cached: `row` of the cache, and where it comes from."""

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
    """The competition's images as squares of at least `image_size` pixels.

    Args:
        workers: processes that read DICOMs; 0: one per core as far as it pays; 1: this process.
        folder: where the cache is kept, at exactly that size; None: under cache/, in a folder named by the
            competition, its content and the size that images of this size are made from.
        verify: compare every square with its checksum, and read again what is damaged.

    Raises:
        BadInput: every DICOM that cannot be read; the others are cached. Or `folder` holds squares of another size.
        EnvironmentFailure: the disk is or would be full; what was done is kept.
    """
    if image_size < 1:
        raise BadInput(
            [Fault("bad-size", "image_size", None, f"{image_size} is not an image size", "give pixels, 1 or more")]
        )
    if folder is None:
        image_size = layout.cached_size(image_size)
        folder = layout.default_folder(competition.name, competition.content_key, image_size)
    folder = Path(folder)
    images = [("train", *each) for each in competition.train_images.items()]
    images += [("test", *each) for each in competition.test_images.items()]
    sources = [Source(row, image, split, path) for row, (split, image, path) in enumerate(images)]
    with readable_errors(folder), exclusive_lock(folder / "lock", "the image cache", waits=True):
        cache = finished(folder, image_size)
        if cache and not verify and unchanged(cache, sources):
            return cache
        records = layout.index_records(cache) if cache else layout.read_journal(folder, image_size)
        return complete(folder, image_size, sources, records, workers, compare=verify or cache is None)


def finished(folder: Path, size: int) -> Cache | None:
    """The cache that is there; None where there is none, or it cannot be used any more.

    Raises:
        BadInput: it has squares of another size.
    """
    try:
        cache = Cache(folder)
    except Damaged:
        return None
    if cache.size != size:
        what = f"holds images of {cache.size} x {cache.size} pixels"
        raise bad_input(folder, what, f"choose another out= for image_size={size}, or remove it")
    return cache


def unchanged(cache: Cache, sources: list[Source]) -> bool:
    """Whether the cache has these images, and every file has the size and time that it had."""
    index = cache.index
    if index["patientId"].tolist() != [each.image for each in sources]:
        return False
    if index["split"].tolist() != [each.split for each in sources]:
        return False
    rows = zip(sources, index["bytes"].tolist(), index["mtime_ns"].tolist())
    try:
        return all((stat := each.path.stat()).st_size == size and stat.st_mtime_ns == time for each, size, time in rows)
    except OSError:
        return False


def complete(
    folder: Path, size: int, sources: list[Source], records: dict[int, dict], workers: int, compare: bool
) -> Cache:
    """Read what is missing or has changed, and finish the cache."""
    right = still_right(folder, size, sources, records, compare)
    missing = [source for source in sources if source.row not in right]
    if right and missing:
        say(f"ingest: {len(right)} of {len(sources)} images are in {folder}, {len(missing)} are to be read")
    refuse_full_disk(folder, size, len(sources))
    (folder / "cache.json").unlink(missing_ok=True)  # from here on it is not finished until it is finished again
    layout.write_journal(folder, size, right)
    allocate(layout.pixel_file(folder, size), len(sources) * size**2)
    faults: list[Fault] = []
    with open(layout.journal_file(folder, size), "a", encoding="utf-8") as lines:
        for records, block_faults in progress(read_blocks(folder, size, missing, workers), "ingest", unit="batch"):
            lines.writelines(layout.journal_line(row, record) for row, record in records.items())
            lines.flush()
            right |= records
            faults += block_faults
    if faults:
        raise BadInput(faults)
    with open(layout.pixel_file(folder, size), "rb") as pixels:
        os.fsync(pixels.fileno())
    layout.finish(folder, size, right)
    return Cache(folder)


def still_right(
    folder: Path, size: int, sources: list[Source], records: dict[int, dict], compare: bool
) -> dict[int, dict]:
    """Those records whose DICOM is as it was, with its present time; and, to `compare`, whose square is too."""
    right = {}
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
            continue  # reading it will say what is the matter
        right[source.row] = record
    if not compare:
        return right
    wanted = ((row, record["pixels_crc32"]) for row, record in right.items())
    intact = layout.intact_squares(layout.pixel_file(folder, size), size, wanted)
    return {row: record for row, record in right.items() if row in intact}


# ------------------------------------------------------------------ reading


def read_blocks(
    folder: Path, size: int, sources: list[Source], workers: int
) -> Iterator[tuple[dict[int, dict], list[Fault]]]:
    """Records and faults of each block as it is done."""
    blocks = [sources[start : start + BLOCK] for start in range(0, len(sources), BLOCK)]
    jobs = [(layout.pixel_file(folder, size), size, block) for block in blocks]
    workers = min(workers or min(count_cores(), len(sources) // WORTH_A_PROCESS), len(jobs))
    if workers <= 1:
        yield from map(read_block, jobs)
        return
    yield from map_in_processes(read_block, jobs, workers)


def read_block(job: tuple[Path, int, list[Source]]) -> tuple[dict[int, dict], list[Fault]]:
    """Read some images and write their squares, one at a time; returns their records by row, and the faults."""
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
    """(size, size) uint8 and its record. The file's time is taken first: a change while it is read shows later."""
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


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """All of `data`; written, not memory-mapped, because a full disk kills a process that writes into a map."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


# ------------------------------------------------------------------ disk


def refuse_full_disk(folder: Path, size: int, count: int) -> None:
    """EnvironmentFailure where the cache cannot fit, before any work."""
    file = layout.pixel_file(folder, size)
    there = file.stat().st_blocks * 512 if file.exists() else 0
    needed = max(0, count * size**2 - there) + count * RECORD_BYTES + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentFailure(
            f"{folder}: {count} images of {size} x {size} need {needed / 1e6:.0f} MB more and {free / 1e6:.0f} MB are"
            " free; free space, or take a smaller image_size"
        )


def allocate(file: Path, length: int) -> None:
    """Give the pixel file its length and its blocks, so that a disk that fills up later leaves room for it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(descriptor, length)
        try:
            if length:
                os.posix_fallocate(descriptor, 0, length)
        except OSError as error:
            if error.errno in FULL:
                raise
            # a file system that cannot reserve: writing finds out
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def readable_errors(folder: Path) -> Iterator[None]:
    """A full or read-only disk as EnvironmentFailure."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            text = f"{folder}: the disk is full ({error.strerror}); free space and run it again: what was done is kept"
            raise EnvironmentFailure(text) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
            raise EnvironmentFailure(f"{folder}: cannot be written: {error.strerror}") from error
        raise
