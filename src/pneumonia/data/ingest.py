"""DICOMs to image cache: interrupted at any moment it goes on where it stood, damaged it is repaired in place.

Every call looks at all that is there: files by size and time (by checksum where those differ), squares by checksum.
What is right stays, the rest is read again. Work is done in blocks of images by spawned processes that write their
squares themselves and hand back index rows, which one process appends to the journal.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pneumonia import config
from pneumonia.data import cache as layout
from pneumonia.data.cache import Cache, Damaged
from pneumonia.data.competition import Competition
from pneumonia.data.image_files import read_scaled
from pneumonia.system.errors import BadInput, EnvironmentFailure, Fault, bad_input
from pneumonia.system.files import sha256
from pneumonia.system.processes import cores, mapped
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


def ingest(competition: Competition, image_size: int, workers: int = 0, folder: str | Path | None = None) -> Cache:
    """The competition's images as squares of at least `image_size` pixels.

    Args:
        workers: processes that read DICOMs; 0: one per core as far as it pays; 1: this process.
        folder: where the cache is kept, at exactly that size or the larger one that is there; None: under cache/, in a
            folder named by the competition, its content and the size that images of this size are made from.

    Raises:
        BadInput: every DICOM that cannot be read; the others are cached.
        EnvironmentFailure: the disk is or would be full; what was done is kept.
    """
    if image_size < 1:
        raise BadInput(
            [Fault("bad-size", "image_size", None, f"{image_size} is no image size", "give pixels, 1 or more")]
        )
    if folder is None:
        image_size = layout.cached_size(image_size)
        folder = config.REPOSITORY / "cache" / f"{competition.name}-{competition.content_key}-{image_size}"
    folder = Path(folder)
    images = [("train", *each) for each in competition.train_images.items()]
    images += [("test", *each) for each in competition.test_images.items()]
    sources = [Source(row, image, split, path) for row, (split, image, path) in enumerate(images)]
    with readable_errors(folder), locked(folder):
        size = max(image_size, size_there(folder))
        return brought_up_to_date(folder, size, sources, workers)


def size_there(folder: Path) -> int:
    try:
        return layout.cache_info(folder)["size"]
    except Damaged:
        # cache.json may be what is damaged: a journal whose work was finished or begun says what was wanted
        sizes = [path.stem.removeprefix("journal-") for path in folder.glob("journal-*.jsonl")]
        return max((int(size) for size in sizes if size.isdecimal()), default=0)


def brought_up_to_date(folder: Path, size: int, sources: list[Source], workers: int) -> Cache:
    journal = layout.journal_file(folder, size)
    records = layout.read_journal(journal)
    right, changed = still_right(folder, size, sources, records)
    missing = [source for source in sources if source.row not in right]
    if not missing and not changed:
        with contextlib.suppress(Damaged):
            cache = Cache(folder)
            if cache.size == size and len(cache) == len(sources):
                return cache
    elif right:
        say(f"ingest: {len(right)} of {len(sources)} images are in {folder}, {len(missing)} are to be read")
    refuse_full_disk(folder, size, len(sources))
    with contextlib.suppress(Damaged):
        if layout.cache_info(folder)["size"] == size:  # from here on it is not complete until it is complete again
            (folder / "cache.json").unlink()
    layout.write_journal(journal, right)
    allocate(layout.pixel_file(folder, size), len(sources) * size**2)
    faults: list[Fault] = []
    with open(journal, "a", encoding="utf-8") as lines:
        for records, block_faults in progress(read_blocks(folder, size, missing, workers), "ingest", unit="batch"):
            lines.writelines(layout.journal_line(row, record) for row, record in records.items())
            lines.flush()
            right |= records
            faults += block_faults
    if faults:
        raise BadInput(faults)
    with open(layout.pixel_file(folder, size), "rb") as pixels:
        os.fsync(pixels.fileno())
    layout.complete(folder, size, right)
    remove_other_sizes(folder, size)
    return Cache(folder)


def still_right(
    folder: Path, size: int, sources: list[Source], records: dict[int, dict]
) -> tuple[dict[int, dict], bool]:
    """Those records whose DICOM and square are as they were; and whether a record had to be touched for that."""
    right, changed = {}, False
    for source in sources:
        record = records.get(source.row)
        if record is None or (record["patientId"], record["split"]) != (source.image, source.split):
            continue
        try:
            stat = source.path.stat()
            if (stat.st_size, stat.st_mtime_ns) != (record["bytes"], record["mtime_ns"]):
                if stat.st_size != record["bytes"] or sha256(source.path) != record["sha256"]:
                    continue
                record, changed = record | {"mtime_ns": stat.st_mtime_ns}, True
        except OSError:
            continue  # reading it will say what is the matter
        right[source.row] = record
    wanted = ((row, record["pixels_crc32"]) for row, record in right.items())
    intact = layout.intact_squares(layout.pixel_file(folder, size), size, wanted)
    return {row: record for row, record in right.items() if row in intact}, changed


# ------------------------------------------------------------------ reading


def read_blocks(
    folder: Path, size: int, sources: list[Source], workers: int
) -> Iterator[tuple[dict[int, dict], list[Fault]]]:
    """Records and faults of each block as it is done."""
    blocks = [sources[start : start + BLOCK] for start in range(0, len(sources), BLOCK)]
    jobs = [(layout.pixel_file(folder, size), size, block) for block in blocks]
    workers = min(workers or min(cores(), len(sources) // WORTH_A_PROCESS), len(jobs))
    if workers <= 1:
        yield from map(read_block, jobs)
        return
    yield from mapped(read_block, jobs, workers)


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
    """All of `data`; written, not mapped, because a full disk kills who writes into a map."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


# ------------------------------------------------------------------ disk and lock


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


def remove_other_sizes(folder: Path, size: int) -> None:
    """Squares of another size. Who has them mapped keeps them until he lets go."""
    keep = {layout.pixel_file(folder, size), layout.journal_file(folder, size)}
    for path in [*folder.glob("pixels-*.u8"), *folder.glob("journal-*.jsonl")]:
        if path not in keep:
            path.unlink(missing_ok=True)


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


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time works on a cache; the next one says that it waits, and waits."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{folder}: cannot be made a folder: {error.strerror}; free space or choose out="
        raise EnvironmentFailure(text) from error
    with open(folder / "lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"ingest: another process works on {folder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
