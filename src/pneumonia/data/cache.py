"""The image cache: one memory-mapped file of squares, and an index.

A cache is a folder with

    pixels-SIZE.u8      n x SIZE x SIZE uint8, row after row of the index, no header
    index.csv           one row per image: patientId, split ("train" or "test"), what the header says, bytes, mtime_ns
                        and sha256 of the DICOM, pixels_crc32 (of the square)
    cache.json          SIZE, n and the checksum of index.csv: written last, so a folder with it is finished

and, until it is finished, journal-SIZE.jsonl: one line per image that was written, [row of the index, its record]. A
line that was cut short is passed over; one whose pixels did not reach the disk is noticed by the square's checksum.
"""

import contextlib
import json
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.files import atomic_write, read_json, sha256, write_json

VERSION = 1  # of this layout and of how a DICOM becomes a square
SMALLEST = 256  # pixels of the smallest squares that are cached
HEADER_FIELDS = ["rows", "columns", "sex", "age", "view", "modality", "spacing"]  # see data/dicom.py
COLUMNS = ["patientId", "split", *HEADER_FIELDS, "bytes", "mtime_ns", "sha256", "pixels_crc32"]
TEXTS = ("patientId", "split", "sex", "view", "modality", "sha256")
NUMBERS = ("age", "spacing")  # NaN where missing


class Damaged(EnvironmentFailure):
    """A cache that is not finished or not what was written; `ingest` makes it again."""


class Cache:
    """A complete cache, read only.

    pixels: (n, size, size) uint8, memory-mapped.
    index: one row per image in the order of `pixels` (see the head of this file); age in years, NaN where missing.
    """

    def __init__(self, folder: str | Path):
        """Opens it after a check that reads the index only: that it is whole and that the pixels have its length.

        Raises:
            Damaged: not finished, or damaged.
        """
        self.folder = Path(folder)
        facts = cache_info(self.folder)
        self.size, count = facts["size"], facts["images"]
        file, index = pixel_file(self.folder, self.size), self.folder / "index.csv"
        try:
            if sha256(index) != facts["index_sha256"]:
                raise Damaged(f"{index}: is not as it was written; run ingest again")
            if file.stat().st_size != count * self.size**2:
                raise Damaged(f"{file}: has not the length that the index says; run ingest again")
        except OSError as error:
            raise Damaged(f"{error.filename}: {error.strerror}; run ingest again") from error
        # The texts "NA" and "None" are texts; only numbers can be missing.
        kinds = dict.fromkeys(TEXTS, str)
        self.index = pd.read_csv(
            index,
            dtype=kinds,
            keep_default_na=False,
            na_values={name: [""] for name in NUMBERS},
            float_precision="round_trip",
        )
        self.index = self.index.astype(dict.fromkeys(NUMBERS, np.float64))
        shape = (count, self.size, self.size)
        self.pixels = np.memmap(file, np.uint8, "r", shape=shape) if count else np.empty(shape, np.uint8)
        self.rows = {image: row for row, image in enumerate(self.index["patientId"])}

    def __len__(self) -> int:
        return len(self.index)

    def row_of(self, image: str) -> int:
        """The image's row in `pixels` and `index`; KeyError where the cache lacks it."""
        return self.rows[image]

    def verify(self) -> list[str]:
        """Ids of the images whose pixels are not what was written. Reads all pixels."""
        wanted = list(enumerate(self.index["pixels_crc32"]))
        intact = intact_squares(pixel_file(self.folder, self.size), self.size, wanted)
        return [image for row, image in enumerate(self.index["patientId"]) if row not in intact]


def cached_size(image_size: int) -> int:
    """Side of the squares from which images of `image_size` pixels are made: 256, 512, 1024, ...

    A function of the image size alone: what a model sees of a DICOM does not depend on which caches happen to be there.
    """
    return max(SMALLEST, 1 << (image_size - 1).bit_length())


def default_folder(name: str, content_key: str, size: int) -> Path:
    """Where squares of `size` pixels of a competition are kept."""
    return config.REPOSITORY / "cache" / f"{name}-{content_key}-{size}"


def pixel_file(folder: Path, size: int) -> Path:
    return folder / f"pixels-{size}.u8"


def journal_file(folder: Path, size: int) -> Path:
    return folder / f"journal-{size}.jsonl"


def cache_info(folder: Path) -> dict:
    """What cache.json says: version, size, images, index_sha256; Damaged where it is not there or not right."""
    try:
        facts = read_json(folder / "cache.json")
        whole = facts["version"] == VERSION and facts["size"] > 0 and facts["images"] >= 0 and facts["index_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder}: there is no complete image cache; run ingest") from error
    if not whole:
        raise Damaged(f"{folder}: the image cache is of another version; run ingest")
    return facts


def square_crc32(pixels: bytes | np.ndarray) -> int:
    """Checksum of one (size, size) uint8 square: against damage, not against malice, and three times as fast as SHA."""
    return zlib.crc32(pixels)


def intact_squares(file: Path, size: int, wanted: Iterable[tuple[int, int]], threads: int = 2) -> set[int]:
    """Those rows of the pixel file whose checksum is the wanted one. One square per thread is held in memory."""

    def intact(item: tuple[int, int]) -> int | None:
        row, checksum = item
        with open(file, "rb", buffering=0) as pixels:
            pixels.seek(row * size**2)
            square = pixels.read(size**2)
        return row if len(square) == size**2 and square_crc32(square) == checksum else None

    if not file.exists():
        return set()
    with ThreadPoolExecutor(threads) as pool:  # reading and hashing let other threads run
        return {row for row in pool.map(intact, wanted) if row is not None}


# ------------------------------------------------------------------ on the way to a finished cache


def journal_line(row: int, record: dict) -> str:
    return json.dumps([row, record], separators=(",", ":")) + "\n"


def read_journal(folder: Path, size: int) -> dict[int, dict]:
    """{row: record} of every whole line; empty where there is no journal."""
    records: dict[int, dict] = {}
    try:
        lines = journal_file(folder, size).read_bytes().splitlines()
    except OSError:
        return records
    for line in lines:
        with contextlib.suppress(ValueError):
            row, record = json.loads(line)
            records[row] = record
    return records


def write_journal(folder: Path, size: int, records: dict[int, dict]) -> None:
    """The journal anew, with these records only."""
    with atomic_write(journal_file(folder, size)) as journal:
        journal.writelines(journal_line(row, record) for row, record in sorted(records.items()))


def index_records(cache: Cache) -> dict[int, dict]:
    """The records that a finished cache was made of."""
    return dict(enumerate(cache.index.to_dict("records")))


def finish(folder: Path, size: int, records: dict[int, dict]) -> None:
    """Write the index of rows 0 .. n-1 and then cache.json, which makes the folder a cache; the journal goes."""
    table = pd.DataFrame([records[row] for row in range(len(records))], columns=COLUMNS)
    with atomic_write(folder / "index.csv") as file:
        table.to_csv(file, index=False, lineterminator="\n")
    checksum = sha256(folder / "index.csv")
    write_json(
        folder / "cache.json",
        {"version": VERSION, "size": size, "images": len(records), "index_sha256": checksum},
    )
    journal_file(folder, size).unlink(missing_ok=True)
