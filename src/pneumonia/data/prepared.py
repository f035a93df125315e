"""The data of every run: image cache, study table and fold table. One process prepares them, each run reads them.

A run's folder lists the files (`Prepared.files`), so that the run's process opens no DICOM and no label table.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.data import check, folds, ingest
from pneumonia.data.cache import Cache, cached_size
from pneumonia.data.competition import Competition
from pneumonia.data.people import Unmapped
from pneumonia.data.published_split import split_of_setting
from pneumonia.data.study_table import study_table
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.files import atomic_write, sha256
from pneumonia.system.progress import say

RUN_AGAIN = "repeat the command that started the run: it prepares what is missing"


@dataclass(frozen=True)
class Prepared:
    """A competition prepared for its runs.

    name, content_key, mapping: of the competition. caches: {side of the squares in pixels: cache}.
    study: of the training images, as `study_table` returns it. folds: fold table (patientId, group, fold).
    unmapped: training images whose person the mapping lacks; None without a mapping, and in a run's process.
    """

    name: str
    content_key: str
    mapping: Path | None
    caches: dict[int, Cache]
    study: pd.DataFrame
    study_file: Path
    folds: pd.DataFrame
    fold_file: Path
    unmapped: Unmapped | None = None

    @property
    def cache(self) -> Cache:
        """The cache of the largest squares."""
        return self.caches[max(self.caches)]

    def files(self, image_size: int) -> dict:
        """The files for `read_prepared` in the process of a run with images of `image_size` pixels."""
        return {
            "name": self.name,
            "content_key": self.content_key,
            "mapping": str(self.mapping) if self.mapping else None,
            "cache": str(self.caches[cached_size(image_size)].folder),
            "study": str(self.study_file),
            "study_sha256": sha256(self.study_file),
            "folds": str(self.fold_file),
        }

    @property
    def identity(self) -> dict:
        """Names and hashes of all that a run's result depends on, except its settings."""
        return {
            "data": self.name,
            "data_key": self.content_key,
            "images_sha256": self.images_sha256,
            "folds_sha256": sha256(self.fold_file),
        }

    @cached_property
    def images_sha256(self) -> str:
        """Hash of the SHA-256 of every DICOM: the same for all cached sizes. It changes when an image is edited, even
        with the same name and size, which `data_key` does not notice."""
        digest = hashlib.sha256()
        for image, checksum in zip(self.cache.index["patientId"], self.cache.index["sha256"]):
            digest.update(f"{image} {checksum}\n".encode())
        return digest.hexdigest()

    @property
    def frame(self) -> list[float]:
        """Largest width and height of the images, in pixels; all images of the competition are 1024 x 1024."""
        return self.cache.index[["columns", "rows"]].max().astype(float).tolist()

    @property
    def dataset(self) -> str:
        """Name of the folder under runs/, from the data folder's name, its content and its folds."""
        key = config.short_hash([self.identity["data_key"], self.identity["folds_sha256"]])
        return f"{self.name}-{key}"


def prepare(settings: schema.Training, competition: Competition, image_sizes: Iterable[int]) -> Prepared:
    """Check, ingest and fold a competition; existing results are only read.

    Args:
        image_sizes: of the models to train, in pixels.

    Raises:
        BadInput: every fault that `check` would report.
    """
    split = split_of_setting(settings.split) or settings.split
    check.refuse_faults(competition, clip_boxes=settings.clip_boxes)
    sizes = sorted({cached_size(size) for size in image_sizes})
    caches = {size: ingest.ingest(competition, size, workers=settings.workers) for size in sizes}
    study = study_table(competition, settings.clip_boxes, caches[sizes[-1]].index)
    unmapped = competition.check_mapping(list(study["patientId"]))
    if unmapped is None:
        say(folds.NO_MAPPING)
    holdout = folds.holdout_of(competition, study, settings.holdout)
    fold_file, table = folds.fold_table(competition, study, settings.n_folds, settings.folds_seed, holdout, split)
    study_file = write_study(study, fold_file.parent)
    name, key, mapping = competition.name, competition.content_key, competition.mapping
    return Prepared(name, key, mapping, caches, study, study_file, table, fold_file, unmapped)


def read_prepared(files: dict) -> Prepared:
    """Read the files of `Prepared.files`, with the one cache of the run.

    Raises:
        EnvironmentFailure: a file is missing, or has changed since it was written.
    """
    cache, study, fold_file = Cache(files["cache"]), Path(files["study"]), Path(files["folds"])
    try:
        if sha256(study) != files["study_sha256"]:
            raise EnvironmentFailure(f"{study}: has changed since it was written; {RUN_AGAIN}")
        table = pd.read_csv(fold_file, dtype=str, keep_default_na=False)
        rows = read_study(study)
    except OSError as error:
        raise EnvironmentFailure(f"{error.filename}: {error.strerror}; {RUN_AGAIN}") from error
    mapping = Path(files["mapping"]) if files["mapping"] else None
    return Prepared(files["name"], files["content_key"], mapping, {cache.size: cache}, rows, study, table, fold_file)


# ------------------------------------------------------------------ the study table as a file


def write_study(study: pd.DataFrame, folder: Path) -> Path:
    """Write study-KEY.csv, named by its content; boxes as "x y width height ..." in full precision."""
    boxes = [" ".join(map(repr, np.reshape(xywh, -1).tolist())) for xywh in study["boxes"]]
    text = study.assign(boxes=boxes).to_csv(index=False, lineterminator="\n")
    path = folder / f"study-{config.short_hash(text)}.csv"
    with atomic_write(path) as file:
        file.write(text)
    return path


def read_study(file: Path) -> pd.DataFrame:
    """Read the table that `write_study` wrote, equal to the last bit."""
    texts = dict.fromkeys(("patientId", "class", "group", "sex", "view", "boxes"), str)
    study = pd.read_csv(file, dtype=texts, keep_default_na=False, na_values={"age": [""]}, float_precision="round_trip")
    study["age"] = study["age"].astype(np.float64)
    study["patientId"] = study["patientId"].astype(object)  # dtypes as `study_table` has them
    for column in ("sex", "view"):
        study[column] = np.array([text or None for text in study[column]], dtype=object)
    arrays = [np.array(text.split(), dtype=np.float64).reshape(-1, 4) for text in study["boxes"]]
    study["boxes"] = pd.Series(arrays, dtype=object)
    return study
