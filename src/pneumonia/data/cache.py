"""The image cache: one memory-mapped file of square images, and an index.

A cache is a folder with

    pixels-SIZE.u8      n x SIZE x SIZE uint8, row after row of the index, no header
    index.csv           one row per image: patientId, split ("train" or "test"), header fields, bytes, mtime_ns and
                        sha256 of the DICOM, pixels_crc32 (of the square)
    cache.json          SIZE, n and the checksum of index.csv: written last, so that a folder with it is finished

and, until it is finished, journal-SIZE.jsonl: one line per written image, [row of the index, its record]. An incomplete
line is skipped; where the pixels of a line did not reach the disk, the checksum of the square differs.
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
    """A cache that is not finished or has changed since it was written; `ingest` repairs it."""


class Cache:
    """A complete cache, read only.

    pixels: (n, size, size) uint8, memory-mapped.
    index: one row per image in the order of `pixels` (see the head of this file); age in years, NaN where missing.
    """

    def __init__(self, folder: str | Path):
        """Open a cache. Only the index is read and verified, and the size of the pixel file; no pixels.

        Raises:
            Damaged: the cache is not finished, or damaged.
        """
        self.folder = Path(folder)
        info = cache_info(self.folder)
        self.size, count = info["size"], info["images"]
        file, index = pixel_file(self.folder, self.size), self.folder / "index.csv"
        try:
            if sha256(index) != info["index_sha256"]:
                raise Damaged(f"{index}: has changed since it was written; run ingest again")
            if file.stat().st_size != count * self.size**2:
                raise Damaged(f"{file}: does not have the length that the index says; run ingest again")
        except OSError as error:
            raise Damaged(f"{error.filename}: {error.strerror}; run ingest again") from error
        # texts such as "NA" and "None" stay texts; only numbers can be missing
        self.index = pd.read_csv(
            index,
            dtype=dict.fromkeys(TEXTS, str),
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
        """The image's row in `pixels` and `index`. Raises KeyError where the cache does not have it."""
        return self.rows[image]

    def verify(self) -> list[str]:
        """Read all pixels; return the ids of images whose pixels have changed since they were written."""
        checksums = enumerate(self.index["pixels_crc32"])
        intact = intact_squares(pixel_file(self.folder, self.size), self.size, checksums)
        return [image for row, image in enumerate(self.index["patientId"]) if row not in intact]


def cached_size(image_size: int) -> int:
    """Side of the squares from which images of `image_size` pixels are made: 256, 512, 1024, ...

    It depends on the image size alone, so that a model gets the same pixels whichever caches exist.
    """
    return max(SMALLEST, 1 << (image_size - 1).bit_length())


def default_folder(name: str, content_key: str, size: int) -> Path:
    """The folder for a competition's squares of `size` pixels."""
    return config.REPOSITORY / "cache" / f"{name}-{content_key}-{size}"


def pixel_file(folder: Path, size: int) -> Path:
    return folder / f"pixels-{size}.u8"


def journal_file(folder: Path, size: int) -> Path:
    return folder / f"journal-{size}.jsonl"


def cache_info(folder: Path) -> dict:
    """Read cache.json: version, size, images, index_sha256. Raises Damaged where it is missing or invalid."""
    try:
        info = read_json(folder / "cache.json")
        is_valid = info["version"] == VERSION and info["size"] > 0 and info["images"] >= 0 and info["index_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder}: there is no complete image cache; run ingest") from error
    if not is_valid:
        raise Damaged(f"{folder}: the image cache is of another version; run ingest")
    return info


def square_crc32(pixels: bytes | np.ndarray) -> int:
    """Checksum of one (size, size) uint8 square: it detects damage, and is three times as fast as SHA."""
    return zlib.crc32(pixels)


def intact_squares(file: Path, size: int, checksums: Iterable[tuple[int, int]], threads: int = 2) -> set[int]:
    """Rows of the pixel file that match their checksum, of (row, checksum). Memory holds one square per thread."""

    def check_square(item: tuple[int, int]) -> int | None:
        row, checksum = item
        with open(file, "rb", buffering=0) as pixels:
            pixels.seek(row * size**2)
            square = pixels.read(size**2)
        return row if len(square) == size**2 and square_crc32(square) == checksum else None

    if not file.exists():
        return set()
    with ThreadPoolExecutor(threads) as pool:  # reading and hashing let other threads run
        return {row for row in pool.map(check_square, checksums) if row is not None}


# ------------------------------------------------------------------ writing a cache


def journal_line(row: int, record: dict) -> str:
    return json.dumps([row, record], separators=(",", ":")) + "\n"


def read_journal(folder: Path, size: int) -> dict[int, dict]:
    """{row: record} of every complete line; empty where there is no journal."""
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
    """Write the journal again, with these records only."""
    with atomic_write(journal_file(folder, size)) as journal:
        journal.writelines(journal_line(row, record) for row, record in sorted(records.items()))


def index_records(cache: Cache) -> dict[int, dict]:
    """{row: record} of a finished cache."""
    return dict(enumerate(cache.index.to_dict("records")))


def finish(folder: Path, size: int, records: dict[int, dict]) -> None:
    """Write the index of rows 0 .. n-1, then cache.json, which marks the cache as finished; remove the journal."""
    table = pd.DataFrame([records[row] for row in range(len(records))], columns=COLUMNS)
    with atomic_write(folder / "index.csv") as file:
        table.to_csv(file, index=False, lineterminator="\n")
    checksum = sha256(folder / "index.csv")
    write_json(
        folder / "cache.json",
        {"version": VERSION, "size": size, "images": len(records), "index_sha256": checksum},
    )
    journal_file(folder, size).unlink(missing_ok=True)
