"""Image files to predict: all are read and decoded first, so that all faults are known at once.

The images are kept as squares in a file. Memory holds one decoded image per thread, for any number of files: a
3520 x 4280 image of 16 bits takes about 90 MB while it is decoded.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia.data.cache import cached_size
from pneumonia.data.dicom import Header
from pneumonia.data.image_files import is_dicom_without_pixels, read_scaled
from pneumonia.data.person_features import person_features_of
from pneumonia.data.samples import Images, Squares
from pneumonia.system.errors import BadInput, EnvironmentFailure, Fault
from pneumonia.system.files import DISK_FULL, write_at
from pneumonia.system.processes import count_cores
from pneumonia.system.progress import progress

MAX_THREADS = 8  # by default: they decode 2,000 images per second, more than any network here predicts


class Radiographs:
    """Images as memory-mapped squares of each size, and their headers.

    ids: of the readable images. headers: one row for each of them. damaged: faults of the others. without_pixels:
    faults of DICOMs that are not images.
    """

    def __init__(self, files: dict[str, Path], image_sizes: Sequence[int], folder: Path, threads: int = 0):
        """Read all files.

        Args:
            files: {id: image file}.
            image_sizes: of the models, in pixels.
            folder: an empty folder for the squares.
            threads: for decoding; 0: one per core, at most MAX_THREADS.

        Raises:
            EnvironmentFailure: the folder's disk is or would be full.
        """
        self.squares_files = {
            size: folder / f"{size}.u8" for size in sorted({cached_size(size) for size in image_sizes})
        }
        self.refuse_full_disk(folder, len(files))
        self.damaged: list[Fault] = []
        self.without_pixels: list[Fault] = []
        headers, rows = {}, []
        threads = threads or min(count_cores(), MAX_THREADS)
        try:
            for file in self.squares_files.values():
                file.touch()
            with ThreadPoolExecutor(threads) as pool:
                results = pool.map(self.read, range(len(files)), files.values())
                for row, (image, result) in enumerate(
                    zip(files, progress(results, "reading images", total=len(files)))
                ):
                    if isinstance(result, Header):
                        headers[image] = result
                        rows.append(row)
                    elif is_dicom_without_pixels(files[image]):
                        self.without_pixels += result
                    else:
                        self.damaged += result
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise EnvironmentFailure(
                f"{folder}: the disk is full; free space, or set TMPDIR to another disk"
            ) from error
        self.ids = list(headers)
        self.headers = pd.DataFrame([dataclasses.asdict(header) for header in headers.values()])
        self.rows = np.array(rows, dtype=np.int64)

    def read(self, row: int, file: Path) -> Header | list[Fault]:
        """Decode one file and write its squares at `row`; returns its header, or its faults."""
        try:
            for size, squares in self.squares_files.items():
                pixels, header = read_scaled(file, size)
                with open(squares, "r+b", buffering=0) as out:
                    write_at(out.fileno(), memoryview(np.ascontiguousarray(pixels)).cast("B"), row * size**2)
        except BadInput as error:
            return error.faults
        return header

    def refuse_full_disk(self, folder: Path, count: int) -> None:
        """Raise EnvironmentFailure if the squares cannot fit on the disk."""
        needed, free = sum(size**2 for size in self.squares_files) * count, shutil.disk_usage(folder).free
        if needed > free:
            what = f"{count} images need {needed / 1e6:.0f} MB there and {free / 1e6:.0f} MB are free"
            raise EnvironmentFailure(f"{folder}: {what}; free space, or set TMPDIR to another disk")

    def images(self, image_size: int) -> Images:
        """The images for a model of `image_size` pixels."""
        size = cached_size(image_size)
        pixels = np.memmap(self.squares_files[size], np.uint8, "r").reshape(-1, size, size)
        return Images(self.ids, Squares(pixels, self.rows, image_size), self.sizes, person_features_of(self.headers))

    @property
    def sizes(self) -> np.ndarray:
        """(n, 2) rows, columns of the original images."""
        return self.headers[["rows", "columns"]].to_numpy()
