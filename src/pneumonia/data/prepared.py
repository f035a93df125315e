"""What every run starts from: image cache, study table and fold table. One process prepares them, each run reads them.

A run's folder names the files (`Prepared.files`), so that its own process opens no DICOM and reads no label table.
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
from pneumonia.data.study_table import study_table
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.files import atomic_write, sha256
from pneumonia.system.progress import say

RUN_AGAIN = "run the command that began the run again: it prepares what is missing"


@dataclass(frozen=True)
class Prepared:
    """A competition made ready for its runs.

    name, content_key, mapping: of the competition. caches: by the side of their squares, in pixels.
    study: of the training images, as `study_table` returns it. folds: fold table (patientId, group, fold).
    unmapped: training images whose person the mapping lacks; None where there is no mapping, and in a run's process.
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
        """That of the largest squares."""
        return self.caches[max(self.caches)]

    def files(self, image_size: int) -> dict:
        """What `read_prepared` needs in the process of a run whose images have `image_size` pixels."""
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
        """What a run's result depends on besides its settings."""
        return {
            "data": self.name,
            "data_key": self.content_key,
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
        return f"{self.name}-{key}"


def prepare(settings: schema.Job, competition: Competition, image_sizes: Iterable[int]) -> Prepared:
    """Check, ingest and fold a competition; what was done before is only read.

    Args:
        image_sizes: of the models to be trained, in pixels.

    Raises:
        BadInput: every fault that `check` would report.
    """
    check.refuse_faults(competition, clip_boxes=settings.clip_boxes)
    sizes = sorted({cached_size(size) for size in image_sizes})
    caches = {size: ingest.ingest(competition, size, workers=settings.workers) for size in sizes}
    study = study_table(competition, settings.clip_boxes, caches[sizes[-1]].index)
    unmapped = competition.check_mapping(list(study["patientId"]))
    if unmapped is None:
        say(folds.NO_MAPPING)
    holdout = folds.holdout_of(competition, study, settings.holdout)
    fold_file, table = folds.fold_table(
        competition, study, settings.n_folds, settings.folds_seed, holdout, settings.split
    )
    study_file = write_study(study, fold_file.parent)
    name, key, mapping = competition.name, competition.content_key, competition.mapping
    return Prepared(name, key, mapping, caches, study, study_file, table, fold_file, unmapped)


def read_prepared(files: dict) -> Prepared:
    """What `Prepared.files` names, with the one cache of the run.

    Raises:
        EnvironmentFailure: a file is not there any more, or not as it was written.
    """
    cache, study, fold_file = Cache(files["cache"]), Path(files["study"]), Path(files["folds"])
    try:
        if sha256(study) != files["study_sha256"]:
            raise EnvironmentFailure(f"{study}: is not as it was written; {RUN_AGAIN}")
        table = pd.read_csv(fold_file, dtype=str, keep_default_na=False)
        rows = read_study(study)
    except OSError as error:
        raise EnvironmentFailure(f"{error.filename}: {error.strerror}; {RUN_AGAIN}") from error
    mapping = Path(files["mapping"]) if files["mapping"] else None
    return Prepared(files["name"], files["content_key"], mapping, {cache.size: cache}, rows, study, table, fold_file)


# ------------------------------------------------------------------ the study table as a file


def write_study(study: pd.DataFrame, folder: Path) -> Path:
    """study-KEY.csv, named by its content; boxes as "x y width height ..." in full precision."""
    boxes = [" ".join(map(repr, np.reshape(xywh, -1).tolist())) for xywh in study["boxes"]]
    text = study.assign(boxes=boxes).to_csv(index=False, lineterminator="\n")
    path = folder / f"study-{config.short_hash(text)}.csv"
    with atomic_write(path) as file:
        file.write(text)
    return path


def read_study(file: Path) -> pd.DataFrame:
    """The table that `write_study` wrote, equal to the last bit."""
    texts = dict.fromkeys(("patientId", "class", "group", "sex", "view", "boxes"), str)
    study = pd.read_csv(file, dtype=texts, keep_default_na=False, na_values={"age": [""]}, float_precision="round_trip")
    study["age"] = study["age"].astype(np.float64)
    study["patientId"] = study["patientId"].astype(object)  # dtypes as `study_table` has them
    for column in ("sex", "view"):
        study[column] = np.array([text or None for text in study[column]], dtype=object)
    arrays = [np.array(text.split(), dtype=np.float64).reshape(-1, 4) for text in study["boxes"]]
    study["boxes"] = pd.Series(arrays, dtype=object)
    return study
