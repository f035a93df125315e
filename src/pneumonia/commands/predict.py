"""`./run.sh predict`: any images through one run, or through a whole trained ensemble; no labels, no sample needed."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pneumonia import config, schema
from pneumonia.boxes import geometry
from pneumonia.boxes.predictions import ClassProbabilities, Detections, write_classes, write_detections
from pneumonia.data.image_files import KINDS, read_scaled
from pneumonia.data.image_folders import FoundImages, find_images
from pneumonia.data.radiographs import Radiographs
from pneumonia.ensemble.merge import apply_to_folds
from pneumonia.ensemble.recipe import read_recipe
from pneumonia.runs.run import Run, experiment_of
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.files import atomic_write, read_json
from pneumonia.system.progress import say
from pneumonia.system.quiet import import_keras_quietly

PICTURE = 1024  # pixels of the picture that a single file gets
PICTURE_SUFFIX = ".jpg"


def predict(settings: schema.Predict) -> dict:
    """Returns {"submission" (of an ensemble) or "table" (of a run): file, "picture": JPEG or None, "images": how many
    were predicted, "damaged": faults of images that were left out, "without_pixels": what those DICOMs are that are no
    images, "other_files": how many files are neither}."""
    folder = folder_of(settings.run)
    members = runs_of(folder) if is_ensemble(folder) else {"": [Run(folder)]}
    out = table_of(settings, folder)
    picture = out.with_suffix(PICTURE_SUFFIX)
    found = images_at(settings.images, leave_out=[out, picture])
    sizes = {experiment_of(run).image_size for runs in members.values() for run in runs}
    with tempfile.TemporaryDirectory(prefix="radiographs-") as scratch:
        radiographs = Radiographs(found.files, sizes, Path(scratch), settings.workers)
        refuse_damaged(radiographs, config.user_path(settings.images), settings.skip_damaged)
        say_what_is_left_out(radiographs, found)
        import_keras_quietly()
        predicted = of_ensemble(folder, radiographs) if is_ensemble(folder) else of_run(Run(folder), radiographs)
    (write_detections if isinstance(predicted, Detections) else write_classes)(out, predicted)
    has_picture = len(predicted) == 1 and isinstance(predicted, Detections)
    if has_picture:
        draw(picture, found.files[predicted.ids[0]], predicted)
    print(f"{len(predicted)} images predicted: {out}" + (f"; picture: {picture}" if has_picture else ""))
    return {
        "submission" if is_ensemble(folder) else "table": out,
        "picture": picture if has_picture else None,
        "images": len(predicted),
        "damaged": [fault.as_json() for fault in radiographs.damaged],
        "without_pixels": [fault.as_json() for fault in radiographs.without_pixels],
        "other_files": found.others,
    }


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


def images_at(text: str, leave_out: Sequence[Path] = ()) -> FoundImages:
    """The image file or the folder's image files that `images` names, by their content (data/image_folders.py).

    Args:
        leave_out: what an earlier call may have written there.

    Raises:
        BadInput: there is none.
    """
    if not text:
        raise bad_input("images", "is missing", "give images=DIR or images=FILE")
    path = config.user_path(text)
    if not path.exists():
        raise bad_input(path, "there is no such file or folder", "give images=DIR or images=FILE")
    found = find_images(path, leave_out)
    if not found.files:
        what = f"holds no image among {found.others} files" if found.others else "is empty"
        raise bad_input(path, what, f"give a folder of {KINDS} files, or one of them")
    return found


def refuse_damaged(radiographs: Radiographs, place: Path, skip_damaged: bool) -> None:
    """Raises BadInput with every damaged image, unless they are to be skipped; and where no sound one is left."""
    damaged = radiographs.damaged
    if damaged and (not skip_damaged or not radiographs.ids):
        error = BadInput(damaged)
        if place.is_dir() and radiographs.ids:
            others = f"{len(radiographs.ids)} other images are sound: skip_damaged=true predicts them"
            error.args = (f"{error}\n{place}: {others}",)
        raise error
    if not radiographs.ids:
        raise BadInput(radiographs.without_pixels)


def say_what_is_left_out(radiographs: Radiographs, found: FoundImages) -> None:
    """One line, where anything is."""
    counts = {
        "DICOMs without pixels": len(radiographs.without_pixels),
        "damaged images": len(radiographs.damaged),
        "files that are no images": found.others,
    }
    if any(counts.values()):
        say("left out: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))
    for fault in radiographs.damaged:
        say(str(fault).replace("error:", "warning:", 1))


def of_ensemble(folder: Path, images: Radiographs) -> Detections:
    """Every member's every fold by the ensemble's recipe."""
    recipe = read_recipe(folder / "recipe.yaml")
    folds = {name: [of_run(run, images) for run in runs] for name, runs in runs_of(folder).items()}
    return apply_to_folds(recipe, folds, images.sizes)


def of_run(run: Run, images: Radiographs) -> Detections | ClassProbabilities:
    from pneumonia.inference.network import network_of
    from pneumonia.inference.predict import predict as predict_table
    from pneumonia.runs.memory import explain_memory_errors

    network, family, experiment = network_of(run)
    title = f"{run.folder.parent.name} fold {run.fold}"
    with explain_memory_errors(experiment, fix="free it, or predict on the CPU: CUDA_VISIBLE_DEVICES=-1"):
        return predict_table(network, family, images.images(experiment.image_size), experiment, title)


def draw(path: Path, file: Path, found: Detections) -> None:
    """The radiograph with its boxes, as a JPEG."""
    from pneumonia.reports.figures import draw_boxes

    image, header = read_scaled(file, PICTURE)
    boxes, scores = found.image(0)
    boxes = geometry.scale(boxes, PICTURE / header.columns, PICTURE / header.rows)
    canvas = draw_boxes(image, np.empty((0, 4)), boxes, scores, PICTURE)
    with atomic_write(path, "wb") as out:
        out.write(cv2.imencode(".jpg", canvas[..., ::-1])[1].tobytes())
