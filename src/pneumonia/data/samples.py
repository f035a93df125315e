"""Images with their labels, ready to be trained on or predicted; images are read from the cache when asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from pneumonia import boxes as geometry
from pneumonia.data.facts import facts_of

if TYPE_CHECKING:
    from pneumonia.data.cache import Cache

CLASSES = ("normal", "not_normal", "opacity")


class CachedImages:
    """Images of the cache at a model's size: a sequence of (size, size) uint8 that holds none of them in memory."""

    def __init__(self, cache: "Cache", ids: Sequence[str], size: int):
        self.pixels, self.size = cache.pixels, size
        self.rows = np.array([cache.row_of(image) for image in ids], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        image = np.asarray(self.pixels[self.rows[index]])
        if image.shape[0] == self.size:
            return image
        way = cv2.INTER_AREA if self.size < image.shape[0] else cv2.INTER_LINEAR
        return cv2.resize(image, (self.size, self.size), interpolation=way)


@dataclass(frozen=True)
class Samples:
    """Labelled images.

    ids: (n,) patientId.
    images: n images (size, size) uint8 gray.
    boxes: n arrays (k, 4) x, y, width, height in pixels of the `size` square.
    classes: (n,) int, positions in CLASSES; of NIH images (n, 14) 0 or 1.
    facts: (n, FACTS) of models/person.py: age, sex and view; None where no network asks for them.
    """

    ids: np.ndarray
    images: Sequence[np.ndarray]
    boxes: list[np.ndarray]
    classes: np.ndarray
    facts: np.ndarray | None = None

    @property
    def positive(self) -> np.ndarray:
        return self.classes.any(axis=1) if self.classes.ndim == 2 else self.classes == CLASSES.index("opacity")

    def __len__(self) -> int:
        return len(self.classes)


def samples_of(study: pd.DataFrame, cache: "Cache", size: int) -> Samples:
    """The images of a study table (data/competition.py) at a model's size, boxes scaled to it."""
    ids = study["patientId"].to_numpy()
    original = original_sizes(cache, ids)
    boxes = [
        geometry.scale(np.reshape(xywh, (-1, 4)), size / columns, size / rows)
        for xywh, (rows, columns) in zip(study["boxes"], original)
    ]
    classes = study["class"].map(CLASSES.index).to_numpy(dtype=np.int64)
    return Samples(ids, CachedImages(cache, ids, size), boxes, classes, facts_of(study))


def original_sizes(cache: "Cache", ids: Sequence[str]) -> np.ndarray:
    """(n, 2) rows, columns of the original images."""
    rows = [cache.row_of(image) for image in ids]
    return cache.index[["rows", "columns"]].to_numpy()[rows]
