"""`./run.sh predict`: any DICOMs through one run, or through a whole trained ensemble; no labels, no sample needed."""

import dataclasses
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.boxes import geometry
from pneumonia.boxes.predictions import ClassProbabilities, Detections, write_classes, write_detections
from pneumonia.data.cache import cached_size
from pneumonia.data.dicom import read_scaled
from pneumonia.data.samples import Squares
from pneumonia.ensemble.merge import apply_to_folds
from pneumonia.ensemble.recipe import read_recipe
from pneumonia.runs.run import Run
from pneumonia.system.errors import bad_input
from pneumonia.system.files import atomic_write, read_json
from pneumonia.system.processes import cores
from pneumonia.system.progress import progress
from pneumonia.system.quiet import import_keras_quietly

PICTURE = 1024  # pixels of the picture that a single file gets
PICTURE_SUFFIX = ".jpg"
READ_AT_ONCE = 256  # DICOMs whose squares wait in memory to be written


def predict(settings: schema.Predict) -> dict:
    """Returns {"predictions": table, "images": count, "picture": JPEG or None}."""
    run = folder_of(settings.run)
    images = dicoms_of(settings.images)
    out = table_of(settings, run)
    import_keras_quietly()
    with tempfile.TemporaryDirectory(prefix="radiographs-") as scratch:
        radiographs = Radiographs(images, Path(scratch), settings.workers)
        found = of_ensemble(run, radiographs) if is_ensemble(run) else of_run(Run(run), radiographs)
    (write_detections if isinstance(found, Detections) else write_classes)(out, found)
    picture = None
    if len(images) == 1 and isinstance(found, Detections):
        picture = out.with_suffix(PICTURE_SUFFIX)
        draw(picture, next(iter(images.values())), found)
    print(f"{len(images)} images predicted: {out}" + (f"; picture: {picture}" if picture else ""))
    return {"predictions": out, "images": len(images), "picture": picture}


def folder_of(text: str) -> Path:
    """Raises BadInput for a folder that holds neither a finished run nor an ensemble of finished runs."""
    folder = config.user_path(text) if text else Path()
    if not text or not ((folder / "done.json").exists() or is_ensemble(folder)):
        fix = "give run=runs/DATASET/EXPERIMENT/fold0 or run=submissions/NAME"
        raise bad_input(text or "run", "is no finished run and no ensemble", fix)
    if is_ensemble(folder):
        unfinished = [run.folder for runs in runs_of(folder).values() for run in runs if not run.is_marked]
        if unfinished:
            fix = "make the ensemble again by the command that made it"
            raise bad_input(folder, f"its run {unfinished[0]} is not there any more", fix)
    return folder


def is_ensemble(folder: Path) -> bool:
    return (folder / "recipe.yaml").exists()


def runs_of(ensemble: Path) -> dict[str, list[Run]]:
    """{member: its runs}. Raises BadInput for an ensemble of tables, which knows no network that could predict."""
    made_by = ensemble / "result.json"
    runs = read_json(made_by).get("runs") if made_by.exists() else None
    if runs is None:
        fix = "predict with each model, then ./run.sh apply recipe=... members=[...]"
        raise bad_input(ensemble, "was fitted on tables: it has a recipe, and no trained models", fix)
    return {name: [Run(config.REPOSITORY / path) for path in paths] for name, paths in runs.items()}


def table_of(settings: schema.Predict, run: Path) -> Path:
    """Where the prediction table goes: `out`, else a file beside the run, named by the images.

    Raises:
        BadInput: a folder, or a name that the picture needs.
    """
    images = config.user_path(settings.images)
    if not settings.out:
        return run / "predictions" / f"{images.stem}-{config.short_hash(str(images))}.csv"
    out = config.user_path(settings.out)
    if out.is_dir():
        raise bad_input(out, "is a folder", "give out= the name of a file, such as predictions.csv")
    if out.suffix.lower() == PICTURE_SUFFIX:
        raise bad_input(out, "is the picture's name", "give out= the table's name, such as predictions.csv")
    return out


def dicoms_of(text: str) -> dict[str, Path]:
    """{id, the file's name: DICOM}. Raises BadInput where there is none, or two of one name."""
    if not text:
        raise bad_input("images", "is missing", "give images=DIR or images=FILE.dcm")
    path = config.user_path(text)
    files = [path] if path.is_file() else sorted(each for each in path.glob("**/*") if each.suffix.lower() == ".dcm")
    if not files:
        raise bad_input(path, "holds no DICOM (*.dcm)", "give a DICOM file, or a folder of them")
    named: dict[str, Path] = {}
    for file in files:
        if file.stem in named:
            raise bad_input(file, f"has the same name as {named[file.stem]}", "give each image a name of its own")
        named[file.stem] = file
    return named


class Radiographs:
    """The DICOMs to be predicted, each read once per size of squares, which wait in a file and not in memory."""

    def __init__(self, files: dict[str, Path], folder: Path, workers: int = 0):
        self.files, self.folder, self.workers = files, folder, max(1, workers or cores())
        self.read: dict[int, tuple[np.ndarray, pd.DataFrame]] = {}

    @property
    def ids(self) -> list[str]:
        return list(self.files)

    @property
    def sizes(self) -> np.ndarray:
        """(n, 2) rows, columns of the originals, once they have been read."""
        _, headers = next(iter(self.read.values()))
        return headers[["rows", "columns"]].to_numpy()

    def squares(self, size: int) -> tuple[np.ndarray, pd.DataFrame]:
        """(n, size, size) uint8, memory-mapped, and a table of the headers (data/dicom.py)."""
        if size in self.read:
            return self.read[size]
        headers = []
        # threads: what decodes a JPEG lets others run meanwhile
        with open(self.folder / f"{size}.u8", "wb") as pixels, ThreadPoolExecutor(self.workers) as readers:
            files = list(self.files.values())
            parts = (files[start : start + READ_AT_ONCE] for start in range(0, len(files), READ_AT_ONCE))
            read = (each for part in parts for each in readers.map(partial(read_scaled, size=size), part))
            for square, header in progress(read, f"reading DICOMs at {size} px", total=len(files)):
                pixels.write(np.ascontiguousarray(square))
                headers.append(dataclasses.asdict(header))
        squares = np.memmap(pixels.name, np.uint8, "r", shape=(len(headers), size, size))
        self.read[size] = squares, pd.DataFrame(headers)
        return self.read[size]


def of_ensemble(folder: Path, images: Radiographs) -> Detections:
    """Every member's every fold by the ensemble's recipe."""
    recipe = read_recipe(folder / "recipe.yaml")
    folds = {name: [of_run(run, images) for run in runs] for name, runs in runs_of(folder).items()}
    return apply_to_folds(recipe, folds, images.sizes)


def of_run(run: Run, images: Radiographs) -> Detections | ClassProbabilities:
    from pneumonia.data.person_features import person_features_of
    from pneumonia.inference.network import network_of
    from pneumonia.inference.predict import predict as predict_table
    from pneumonia.runs.memory import memory_errors_explained

    network, family, experiment = network_of(run)
    pixels, headers = images.squares(cached_size(experiment.image_size))
    with memory_errors_explained(experiment, fix="free it, or predict on the CPU: CUDA_VISIBLE_DEVICES=-1"):
        return predict_table(
            network,
            family,
            images.ids,
            Squares(pixels, np.arange(len(pixels)), experiment.image_size),
            headers[["rows", "columns"]].to_numpy(),
            experiment.tta,
            experiment.batch_size,
            f"{run.folder.parent.name} fold {run.fold}",
            experiment.max_boxes,
            experiment.min_score,
            person_features_of(headers),
        )


def draw(path: Path, dicom: Path, found: Detections) -> None:
    """The radiograph with its boxes, as a JPEG."""
    from pneumonia.reports.figures import draw_boxes

    image, header = read_scaled(dicom, PICTURE)
    boxes, scores = found.image(0)
    boxes = geometry.scale(boxes, PICTURE / header.columns, PICTURE / header.rows)
    canvas = draw_boxes(image, np.empty((0, 4)), boxes, scores, PICTURE)
    with atomic_write(path, "wb") as file:
        file.write(cv2.imencode(".jpg", canvas[..., ::-1])[1].tobytes())
