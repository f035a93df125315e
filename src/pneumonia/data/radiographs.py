"""Image files that are to be predicted: each is read and decoded in full first, so that all faults are known at once.

What is kept of them is squares in a file. Memory holds one decoded image per thread, however many files there are and
however large they are: a 3520 x 4280 image of 16 bits takes about 90 MB while it is decoded.
"""

import dataclasses
import errno
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
from pneumonia.system.processes import count_cores
from pneumonia.system.progress import progress

MOST_THREADS = 8  # by default: they decode 2,000 images a second, more than any network here takes
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Radiographs:
    """Images in memory-mapped squares of each wanted size, and what their headers say.

    ids: of the sound images. headers: one row for each of them. damaged: what is wrong with the others.
    without_pixels: what DICOMs that
    are no images are.
    """

    def __init__(self, files: dict[str, Path], image_sizes: Sequence[int], folder: Path, threads: int = 0):
        """Reads them all.

        Args:
            files: {id: image file}.
            image_sizes: of the models, in pixels.
            folder: an empty one for the squares.
            threads: that decode; 0: one per core, at most MOST_THREADS.

        Raises:
            EnvironmentFailure: the folder's disk is or would be full.
        """
        self.squares_files = {
            size: folder / f"{size}.u8" for size in sorted({cached_size(each) for each in image_sizes})
        }
        self.refuse_full_disk(folder, len(files))
        self.damaged: list[Fault] = []
        self.without_pixels: list[Fault] = []
        headers, rows = {}, []
        threads = threads or min(count_cores(), MOST_THREADS)
        try:
            for file in self.squares_files.values():
                file.touch()
            with ThreadPoolExecutor(threads) as pool:
                read = pool.map(self.read, range(len(files)), files.values())
                for row, (image, found) in enumerate(zip(files, progress(read, "reading images", total=len(files)))):
                    if isinstance(found, Header):
                        headers[image] = found
                        rows.append(row)
                    elif is_dicom_without_pixels(files[image]):
                        self.without_pixels += found
                    else:
                        self.damaged += found
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise EnvironmentFailure(
                f"{folder}: the disk is full; free space, or set TMPDIR to another disk"
            ) from error
        self.ids = list(headers)
        self.headers = pd.DataFrame([dataclasses.asdict(header) for header in headers.values()])
        self.rows = np.array(rows, dtype=np.int64)

    def read(self, row: int, file: Path) -> Header | list[Fault]:
        """Decode one file to its squares, row `row` of their files; its header, or its faults."""
        try:
            for size, squares in self.squares_files.items():
                pixels, header = read_scaled(file, size)
                with open(squares, "r+b", buffering=0) as out:
                    out.seek(row * size**2)
                    out.write(memoryview(np.ascontiguousarray(pixels)).cast("B"))
        except BadInput as error:
            return error.faults
        return header

    def refuse_full_disk(self, folder: Path, count: int) -> None:
        needed, free = sum(size**2 for size in self.squares_files) * count, shutil.disk_usage(folder).free
        if needed > free:
            what = f"{count} images need {needed / 1e6:.0f} MB there and {free / 1e6:.0f} MB are free"
            raise EnvironmentFailure(f"{folder}: {what}; free space, or set TMPDIR to another disk")

    def images(self, image_size: int) -> Images:
        """What a model of `image_size` pixels is given."""
        size = cached_size(image_size)
        pixels = np.memmap(self.squares_files[size], np.uint8, "r").reshape(-1, size, size)
        return Images(self.ids, Squares(pixels, self.rows, image_size), self.sizes, person_features_of(self.headers))

    @property
    def sizes(self) -> np.ndarray:
        """(n, 2) rows, columns of the original images."""
        return self.headers[["rows", "columns"]].to_numpy()
