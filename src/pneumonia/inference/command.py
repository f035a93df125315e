"""`./run.sh predict`: any DICOMs through one run, or through a whole trained ensemble; no labels, no sample needed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pneumonia import boxes as geometry
from pneumonia import config, schema
from pneumonia.data.dicom import read_scaled
from pneumonia.ensemble.recipe import apply, read_recipe
from pneumonia.errors import bad_input
from pneumonia.files import read_json, written_whole
from pneumonia.fusion import merge_class_folds, merge_folds
from pneumonia.predictions import ClassProbabilities, Detections, write_classes, write_detections
from pneumonia.progress import progress
from pneumonia.quiet import import_keras_quietly
from pneumonia.training.run import Run

PICTURE = 1024  # pixels of the picture that a single file gets


def command(settings: schema.Predict) -> dict:
    """Returns {"predictions": table, "images": count, "picture": JPEG or None}."""
    run = folder_of(settings.run)
    images = dicoms_of(settings.images)
    import_keras_quietly()
    found = of_ensemble(run, images) if (run / "recipe.yaml").exists() else of_runs([Run(run)], images)
    name = "submission.csv" if isinstance(found, Detections) else "classes.csv"
    out = config.user_path(settings.out) if settings.out else Path.cwd() / name
    (write_detections if isinstance(found, Detections) else write_classes)(out, found)
    picture = None
    if len(images) == 1 and isinstance(found, Detections):
        picture = out.with_suffix(".jpg")
        draw(picture, next(iter(images.values())), found)
    print(f"{len(images)} images predicted: {out}" + (f"; picture: {picture}" if picture else ""))
    return {"predictions": out, "images": len(images), "picture": picture}


def folder_of(text: str) -> Path:
    """Raises BadInput for a folder that holds neither a finished run nor an ensemble."""
    folder = config.user_path(text) if text else Path()
    if not text or not ((folder / "done.json").exists() or (folder / "recipe.yaml").exists()):
        mend = "give run=runs/DATASET/EXPERIMENT/fold0 or run=submissions/NAME"
        raise bad_input(text or "run", "is no finished run and no ensemble", mend)
    return folder


def dicoms_of(text: str) -> dict[str, Path]:
    """{id, the file's name: DICOM}. Raises BadInput where there is none."""
    if not text:
        raise bad_input("images", "is missing", "give images=DIR or images=FILE.dcm")
    path = config.user_path(text)
    files = [path] if path.is_file() else sorted(path.glob("**/*.dcm"))
    if not files:
        raise bad_input(path, "holds no DICOM (*.dcm)", "give a DICOM file, or a folder of them")
    return {file.stem: file for file in files}


def of_ensemble(folder: Path, images: dict[str, Path]) -> Detections:
    """Every member's every fold, merged, by the ensemble's recipe."""
    recipe, runs = read_recipe(folder / "recipe.yaml"), read_json(folder / "result.json")["runs"]
    tables = {name: of_runs([Run(config.REPOSITORY / path) for path in paths], images) for name, paths in runs.items()}
    members = [tables[member.name] for member in recipe.members]
    return apply(recipe, members, [tables[member.name] for member in recipe.classifiers])


def of_runs(runs: Sequence[Run], images: dict[str, Path]) -> Detections | ClassProbabilities:
    """One experiment's runs on the images, their folds merged."""
    found = [of_run(run, images) for run in runs]
    return merge_folds(found) if isinstance(found[0], Detections) else merge_class_folds(found)


def of_run(run: Run, images: dict[str, Path]) -> Detections | ClassProbabilities:
    from pneumonia.data.facts import facts_of
    from pneumonia.inference.predict import predict

    network, family, experiment = network_of(run)
    pixels, headers = [], []
    title = f"{run.folder.parent.name} fold {run.fold}"
    for path in progress(images.values(), f"{title}: reading DICOMs"):
        image, header = read_scaled(path, experiment.image_size)
        pixels.append(image)
        headers.append(header)
    table = pd.DataFrame([dataclasses.asdict(header) for header in headers])
    return predict(
        network,
        family,
        list(images),
        pixels,
        table[["rows", "columns"]].to_numpy(),
        experiment.tta,
        experiment.batch_size,
        title,
        experiment.boxes_kept,
        experiment.lowest_confidence,
        facts_of(table),
    )


def network_of(run: Run):
    """A finished run's network with its weights, its family and its experiment."""
    from pneumonia.models.registry import family as family_of
    from pneumonia.training import checkpoint

    tree = config.read_yaml(run.folder / "config.yaml")
    tree.pop("identity")
    experiment = config.from_tree(schema.Experiment, tree, str(run.folder / "config.yaml"))
    family = family_of(experiment.model, experiment.image_size, pretrained=False)
    network = family.build()
    checkpoint.read_weights(run.weights, network.variables, run.done()["weights_sha256"])
    return network, family, experiment


def draw(path: Path, dicom: Path, found: Detections) -> None:
    """The radiograph with its boxes, as a JPEG."""
    from pneumonia.reports.figures import drawn

    image, header = read_scaled(dicom, PICTURE)
    boxes, scores = found.image(0)
    boxes = geometry.scale(boxes, PICTURE / header.columns, PICTURE / header.rows)
    canvas = drawn(image, np.empty((0, 4)), boxes, scores, PICTURE)
    with written_whole(path, "wb") as file:
        file.write(cv2.imencode(".jpg", canvas[..., ::-1])[1].tobytes())
