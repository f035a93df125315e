"""`./run.sh export`: true and predicted boxes in the formats of other tools, and networks of runs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pneumonia import config, schema
from pneumonia.boxes.exchange import coco, corners, voc, yolo
from pneumonia.boxes.exchange.box_set import DEFAULT_SIZE, BoxSet, check_file_names, read_fold_table
from pneumonia.boxes.exchange.reading import content_sha256, read_predictions
from pneumonia.boxes.geometry import reach_beyond
from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.boxes.predictions import Detections
from pneumonia.commands.submission_names import submission_file
from pneumonia.data.competition import Competition, resolve
from pneumonia.metrics.iou_map import Truth, read_truth
from pneumonia.schema.commands import NETWORK_FORMATS
from pneumonia.system.errors import bad_input
from pneumonia.system.files import new_folder
from pneumonia.system.processes import count_cores
from pneumonia.system.progress import progress

WRITERS = {"coco": coco.write, "yolo": yolo.write, "voc": voc.write, "csv": corners.write}


def export(settings: schema.Export) -> dict:
    """Write the boxes of a submission, of a label table, or both, in another tool's format; return the folder.

    Raises:
        BadInput: a faulty table, a predicted image without a label, `out` is not empty.
    """
    if settings.run or settings.format not in WRITERS:
        return export_run(settings)
    has_tables = bool(settings.submission or settings.labels)
    competition = resolve(settings, needs_images=settings.images) if settings.data or not has_tables else None
    if settings.images and competition is None:
        raise bad_input("command line", "images=true needs the radiographs", "give data= the competition's folder")
    files = [submission_file(settings.submission)] if settings.submission else []
    labels = config.user_path(settings.labels) if settings.labels else None
    if labels is None and not settings.submission:
        labels = competition.labels
    boxes = box_set(files[0] if files else None, labels, competition, settings.folds)
    files += [labels] if labels else []
    files += [config.user_path(settings.folds)] if settings.folds else []
    out = config.user_path(settings.out) if settings.out else default_folder(settings, files)
    with new_folder(out, replace=not settings.out) as folder:
        WRITERS[settings.format](folder, boxes)
        if settings.images:
            write_pictures(folder / "images", boxes.ids, competition)
    table = boxes.predictions if boxes.predictions is not None else boxes.truth
    print(f"{len(boxes.ids)} images, {len(table.scores)} boxes as {settings.format}: {out}")
    return {
        "folder": out,
        "format": settings.format,
        "images": len(boxes.ids),
        "boxes": len(table.scores),
        "files": sorted(path.name for path in out.iterdir()),
    }


def export_run(settings: schema.Export) -> dict:
    """Write a run's network. Raises BadInput if the format and run= do not fit."""
    if not settings.run:
        raise bad_input("format", f"{settings.format} is a format of networks", "give run= a finished run")
    if settings.format in WRITERS:
        fix = f"choose {', '.join(NETWORK_FORMATS)}; for its predictions give submission= the run's table"
        raise bad_input("format", f"{settings.format} is a format of boxes", fix)
    from pneumonia.commands.export_network import export_network

    return export_network(settings)


def box_set(predictions: Path | None, labels: Path | None, competition: Competition | None, folds: str) -> BoxSet:
    """Read the tables. Without a competition every image is 1024 x 1024 pixels."""
    predicted = None if predictions is None else read_predictions(predictions)
    truth = None if labels is None else read_truth(labels)
    if predicted is not None and truth is not None:
        unknown = sorted(set(predicted.ids) - set(truth.ids))
        if unknown:
            what = f"{len(unknown)} predicted images have no label in {labels.name}, the first is {unknown[0]}"
            fix = "give the labels of these images, or leave labels= out"
            raise bad_input(predictions, what + spelling_difference(unknown, truth.ids), fix)
        truth = truth.select(predicted.ids)
    ids = predicted.ids if predicted is not None else truth.ids
    sizes = [DEFAULT_SIZE if competition is None else competition.size_of(image)[::-1] for image in ids]
    if competition is None:
        check_sizes(predictions or labels, *(table.boxes for table in (predicted, truth) if table is not None))
    return BoxSet(
        ids,
        np.reshape(np.array(sizes, dtype=np.int64), (-1, 2)),
        None if truth is None else true_boxes(truth),
        predicted,
        read_fold_table(config.user_path(folds)) if folds else {},
    )


def check_sizes(file: Path, *tables: np.ndarray) -> None:
    """Raises BadInput where boxes, (n, 4), reach beyond the size that images have without a competition."""
    if reach := reach_beyond(np.concatenate(tables), *DEFAULT_SIZE):
        size = " x ".join(map(str, DEFAULT_SIZE))
        what = f"its boxes reach {reach[0]:g}, {reach[1]:g}, and without data= images are {size}"
        raise bad_input(file, what, "give data=, the folder with the radiographs")


def true_boxes(truth: Truth) -> Detections:
    """True boxes as a table of detections, with scores of 0."""
    return Detections(truth.ids, truth.offsets, truth.boxes, np.zeros(len(truth.boxes)))


def write_pictures(folder: Path, ids: tuple[str, ...], competition: Competition) -> None:
    """Write ID.png of each radiograph at its full size, gray as `ingest` reads it.

    Raises:
        BadInput: an image without a file, or one that cannot be read.
    """
    import cv2

    from pneumonia.data.image_files import read_image

    check_file_names(ids, folder)
    files = competition.train_images | competition.test_images
    missing = [image for image in ids if image not in files]
    if missing:
        what = f"{len(missing)} images have no file, the first is {missing[0]}"
        raise bad_input(competition.root, what, "leave images=true out, or give the folder with them")

    def write(image: str) -> None:
        pixels, _ = read_image(files[image])
        (folder / f"{image}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    folder.mkdir()
    with ThreadPoolExecutor(count_cores()) as pool:
        for _ in progress(pool.map(write, ids), "images", total=len(ids)):
            pass


def default_folder(settings: schema.Export, files: list[Path]) -> Path:
    """exports/NAME-FORMAT-HASH, a hash of the settings and the files' content."""
    name = files[0].parent.name if files[0].name == "submission.csv" else files[0].stem
    tree = config.as_tree(settings) | {"json": False, "out": "", "workers": 0}
    digest = config.short_hash([tree, [content_sha256(path) for path in files]])
    return config.REPOSITORY / "exports" / f"{name}-{settings.format}-{digest}"
