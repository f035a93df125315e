"""`./run.sh predict`: predicts any images with one run or a trained ensemble, without labels or a sample submission."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pneumonia import config, schema
from pneumonia.boxes import geometry
from pneumonia.boxes.predictions import ClassProbabilities, Detections, classes_file, write_classes, write_detections
from pneumonia.boxes.same_model import merge_tables
from pneumonia.data.image_files import read_scaled
from pneumonia.data.image_folders import FoundImages, find_images
from pneumonia.data.image_kinds import KINDS
from pneumonia.data.radiographs import Radiographs
from pneumonia.ensemble.merge import merge_folds
from pneumonia.ensemble.recipe import apply_to_sizes, image_probabilities, read_recipe
from pneumonia.inference.predict import predict_tables
from pneumonia.inference.predictor import Predictor, Source, source_of
from pneumonia.runs.memory import explain_memory_errors
from pneumonia.runs.run import by_fold
from pneumonia.runs.tables import image_output
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.files import atomic_write
from pneumonia.system.progress import say

PICTURE_SIZE = 1024  # pixels of the picture that is drawn for a single image
PICTURE_SUFFIX = ".jpg"


def predict(settings: schema.Predict) -> dict:
    """Predict images and write their table; beside boxes, if the images have them, their class probabilities.

    Returns:
        "submission" (of an ensemble) or "table" (of a run): the written file. "classes": that of the probabilities of
        an ensemble, or of a localizer with an output for the whole image; else None. "picture": a JPEG, or None.
        "images": the number of predicted images. "damaged": faults of images that were left out. "without_pixels":
        faults of DICOMs that are not images. "other_files": the number of all other files.
    """
    source = source_of(config.required_path(settings.run, "run", "a run or an ensemble"), settings.engine)
    out = output_file(settings, source.folder)
    picture, beside = out.with_suffix(PICTURE_SUFFIX), classes_file(out)
    image_files = input_files(settings.images, leave_out=[out, picture, beside])
    sizes = {predictor.experiment.image_size for predictor in source.predictors}
    with tempfile.TemporaryDirectory(prefix="radiographs-") as scratch:
        radiographs = Radiographs(image_files.files, sizes, Path(scratch), settings.workers)
        check_damaged(radiographs, config.user_path(settings.images), settings.skip_damaged)
        report_left_out(radiographs, image_files)
        if source.recipe:
            table, classes = predict_with_ensemble(source, radiographs)
        else:
            table, classes = predict_with(source.predictors[0], radiographs)
    (write_detections if isinstance(table, Detections) else write_classes)(out, table)
    if classes is not None:
        write_classes(beside, classes)
    has_picture = len(table) == 1 and isinstance(table, Detections)
    if has_picture:
        draw_picture(picture, image_files.files[table.ids[0]], table)
    text = f"{len(table)} images predicted: {out}"
    text += f"; probabilities of an opacity: {beside}" if classes is not None else ""
    print(text + (f"; picture: {picture}" if has_picture else ""))
    return {
        "submission" if source.recipe else "table": out,
        "classes": beside if classes is not None else None,
        "picture": picture if has_picture else None,
        "images": len(table),
        "damaged": [fault.as_json() for fault in radiographs.damaged],
        "without_pixels": [fault.as_json() for fault in radiographs.without_pixels],
        "other_files": image_files.others,
    }


def output_file(settings: schema.Predict, run: Path) -> Path:
    """The prediction table to write: `out`, else a file in the run's folder, named after the images.

    Raises:
        BadInput: `out` is a folder, or has the picture's name.
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


def input_files(text: str, leave_out: Sequence[Path] = ()) -> FoundImages:
    """The image file in `images=`, or the image files of that folder, recognised by content (data/image_folders.py).

    Args:
        leave_out: files that an earlier call may have written there.

    Raises:
        BadInput: there is no image.
    """
    if not text:
        raise bad_input("images", "is missing", "give images=DIR or images=FILE")
    path = config.user_path(text)
    if not path.exists():
        raise bad_input(path, "there is no such file or folder", "give images=DIR or images=FILE")
    images = find_images(path, leave_out)
    if not images.files:
        what = f"has no image among {images.others} files" if images.others else "is empty"
        raise bad_input(path, what, f"give a folder of {KINDS} files, or one of them")
    return images


def check_damaged(radiographs: Radiographs, path: Path, skip_damaged: bool) -> None:
    """Raises BadInput with all damaged images, unless they are to be skipped; also where no other image is left."""
    damaged = radiographs.damaged
    if damaged and (not skip_damaged or not radiographs.ids):
        error = BadInput(damaged)
        if path.is_dir() and radiographs.ids:
            others = f"{len(radiographs.ids)} other images can be read: skip_damaged=true predicts them"
            error.args = (f"{error}\n{path}: {others}",)
        raise error
    if not radiographs.ids:
        raise BadInput(radiographs.without_pixels)


def report_left_out(radiographs: Radiographs, images: FoundImages) -> None:
    """Print a line with the counts of files that are not predicted, and a warning for each damaged image."""
    counts = {
        "DICOMs without pixels": len(radiographs.without_pixels),
        "damaged images": len(radiographs.damaged),
        "files that are not images": images.others,
    }
    if any(counts.values()):
        say("left out: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))
    for fault in radiographs.damaged:
        say(str(fault).replace("error:", "warning:", 1))


def predict_with_ensemble(source: Source, images: Radiographs) -> tuple[Detections, ClassProbabilities]:
    """Predict with all networks of all members, and apply the ensemble's recipe."""
    recipe = read_recipe(source.recipe)
    folds: dict[str, list] = {}
    for name, predictors in source.members.items():
        for seeds in by_fold(predictors).values():
            tables, classes = zip(*(predict_with(predictor, images) for predictor in seeds))
            folds.setdefault(name, []).append(merge_tables(tables))
            if classes[0] is not None:
                folds.setdefault(image_output(name), []).append(merge_tables(classes))
    merged = merge_folds(recipe, folds)
    detections = apply_to_sizes(recipe, *merged, images.sizes)
    return detections, ClassProbabilities(detections.ids, image_probabilities(recipe, *merged))


def predict_with(
    predictor: Predictor, images: Radiographs
) -> tuple[Detections | ClassProbabilities, ClassProbabilities | None]:
    """Return a network's table, and the class probabilities of a localizer with an output for the whole image."""
    experiment, (engine, decoder) = predictor.experiment, predictor.open()
    with explain_memory_errors(experiment, fix="free it, or predict on the CPU: CUDA_VISIBLE_DEVICES=-1"):
        return predict_tables(engine, decoder, images.images(experiment.image_size), experiment, predictor.title)


def draw_picture(path: Path, file: Path, detections: Detections) -> None:
    """Write the radiograph with its boxes as a JPEG."""
    from pneumonia.boxes.drawing import draw_boxes

    image, header = read_scaled(file, PICTURE_SIZE)
    boxes, scores = detections.image(0)
    boxes = geometry.scale(boxes, PICTURE_SIZE / header.columns, PICTURE_SIZE / header.rows)
    canvas = draw_boxes(image, np.empty((0, 4)), boxes, scores, PICTURE_SIZE)
    with atomic_write(path, "wb") as out:
        out.write(cv2.imencode(".jpg", canvas[..., ::-1])[1].tobytes())
