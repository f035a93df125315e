"""What every stage after ingest starts from: the competition, its image cache, study table and fold table."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from pneumonia import config, schema
from pneumonia.data import check, folds, ingest
from pneumonia.data.cache import Cache, cached_size
from pneumonia.data.competition import Competition
from pneumonia.data.people import Unmapped
from pneumonia.data.study_table import study_table
from pneumonia.system.files import sha256
from pneumonia.system.progress import say


@dataclass(frozen=True)
class Prepared:
    """cache: of the largest images. study: of the training images. folds: fold table (patientId, group, fold).
    unmapped: training images whose person the mapping lacks; None where there is no mapping."""

    competition: Competition
    cache: Cache
    study: pd.DataFrame
    folds: pd.DataFrame
    fold_file: Path
    unmapped: Unmapped | None = None

    @property
    def identity(self) -> dict:
        """What a run's result depends on besides its settings."""
        return {
            "data": self.competition.name,
            "data_key": self.competition.content_key,
            "images_sha256": self.images_sha256,
            "folds_sha256": sha256(self.fold_file),
        }

    @cached_property
    def images_sha256(self) -> str:
        """Of every DICOM's own SHA-256, which ingest took: the same whatever sizes are cached, another one where an
        image was edited, though it kept its name and size, which is all that `data_key` knows of it."""
        digest = hashlib.sha256()
        for image, checksum in zip(self.cache.index["patientId"], self.cache.index["sha256"]):
            digest.update(f"{image} {checksum}\n".encode())
        return digest.hexdigest()

    @property
    def frame(self) -> list[float]:
        """Width and height that no image exceeds, in pixels; every image of the competition is 1024 x 1024."""
        return self.cache.index[["columns", "rows"]].max().astype(float).tolist()

    @property
    def dataset(self) -> str:
        """Names the data folder, its content and how it is folded: a folder's name under runs/."""
        key = config.short_hash([self.identity["data_key"], self.identity["folds_sha256"]])
        return f"{self.competition.name}-{key}"


def prepare(settings: schema.Job, competition: Competition, image_sizes: Iterable[int]) -> Prepared:
    """Check, ingest and fold a competition; what was done before is only read.

    Args:
        image_sizes: of the models to be trained, in pixels.

    Raises:
        BadInput: every fault that `check` would report.
    """
    check.refuse_faults(competition, clip_boxes=settings.clip_boxes)
    for size in sorted({cached_size(size) for size in image_sizes}):
        cache = ingest.ingest(competition, size, workers=settings.workers)
    study = study_table(competition, settings.clip_boxes, cache.index)
    unmapped = competition.check_mapping(list(study["patientId"]))
    if unmapped is None:
        say(folds.NO_MAPPING)
    holdout = folds.holdout_of(competition, study, settings.holdout)
    fold_file, table = folds.fold_table(
        competition, study, settings.n_folds, settings.folds_seed, holdout, settings.split
    )
    return Prepared(competition, cache, study, table, fold_file, unmapped)
