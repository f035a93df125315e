"""Images with their labels, for training and prediction; pixels are read from the cache when needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from pneumonia.boxes import geometry
from pneumonia.data.cache import Cache
from pneumonia.data.labels import CLASSES
from pneumonia.data.person_features import person_features_of


@dataclass(frozen=True, eq=False)
class Squares:
    """Squares at a model's size: a sequence of (size, size) uint8 that holds none of them in memory.

    pixels: (n, cached, cached) uint8, memory-mapped. rows: of `pixels`, in this sequence's order. size: the model's.
    """

    pixels: np.ndarray
    rows: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return resize_square(np.asarray(self.pixels[self.rows[index]]), self.size)


class CachedImages(Squares):
    """Images of the cache at a model's size."""

    def __init__(self, cache: Cache, ids: Sequence[str], size: int):
        super().__init__(cache.pixels, np.array([cache.row_of(image) for image in ids], dtype=np.int64), size)


def resize_square(square: np.ndarray, size: int) -> np.ndarray:
    """Resize a square of the cache to (size, size), by area where it shrinks."""
    if square.shape[0] == size:
        return square
    interpolation = cv2.INTER_AREA if size < square.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=interpolation)


@dataclass(frozen=True, eq=False)
class Images:
    """Images to predict.

    ids: (n,) patientId. pixels: n images (size, size) uint8 gray, size being the model's. sizes: (n, 2) rows, columns
    of the originals. person_features: (n, N_PERSON_FEATURES) of data/person_features.py; None where they are
    unknown.
    """

    ids: Sequence[str]
    pixels: Sequence[np.ndarray]
    sizes: np.ndarray
    person_features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Samples:
    """Labelled images.

    ids: (n,) patientId.
    images: n images (size, size) uint8 gray.
    boxes: n arrays (k, 4) x, y, width, height in pixels of the `size` square.
    classes: (n,) int, positions in data/labels.py's CLASSES; of NIH images (n, 14) 0 or 1.
    person_features: (n, N_PERSON_FEATURES) of data/person_features.py; None where no network uses them.
    """

    ids: np.ndarray
    images: Sequence[np.ndarray]
    boxes: list[np.ndarray]
    classes: np.ndarray
    person_features: np.ndarray | None = None

    @property
    def positive(self) -> np.ndarray:
        """(n,) bool: whether an image has the positive class; of NIH images, any label."""
        return self.classes.any(axis=1) if self.classes.ndim == 2 else self.classes == CLASSES.positive_index

    def __len__(self) -> int:
        return len(self.classes)


def samples_of(study: pd.DataFrame, cache: Cache, size: int) -> Samples:
    """The images of a study table (data/study_table.py) at a model's size, with boxes scaled to it."""
    ids = study["patientId"].to_numpy()
    original = original_sizes(cache, ids)
    boxes = [
        geometry.scale(np.reshape(xywh, (-1, 4)), size / columns, size / rows)
        for xywh, (rows, columns) in zip(study["boxes"], original)
    ]
    classes = study["class"].map(CLASSES.names.index).to_numpy(dtype=np.int64)
    return Samples(ids, CachedImages(cache, ids, size), boxes, classes, person_features_of(study))


def cached_images(cache: Cache, ids: Sequence[str], size: int) -> Images:
    """Images of the cache at a model's size."""
    pixels = CachedImages(cache, ids, size)
    return Images(ids, pixels, original_sizes(cache, ids), person_features_of(cache.index.iloc[pixels.rows]))


def original_sizes(cache: Cache, ids: Sequence[str]) -> np.ndarray:
    """(n, 2) rows, columns of the original images."""
    rows = [cache.row_of(image) for image in ids]
    return cache.index[["rows", "columns"]].to_numpy()[rows]
