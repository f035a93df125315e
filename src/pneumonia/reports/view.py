"""view.html: a gallery of radiographs with true and predicted boxes, and a threshold that can be moved.

The page opens without a server or a network. It holds the boxes; the pictures lie in a folder beside it and are loaded
when they come into view. view.js recomputes the competition's score at any threshold from each box's matches
(`box_matches`), by the arithmetic of metrics/iou_kernels.py.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pneumonia import config
from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.froc import SIZES, sizes_of
from pneumonia.metrics.iou_map import Truth, box_matches
from pneumonia.metrics.subgroups import subgroups
from pneumonia.reports import page
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.system.files import FREE_SPACE, atomic_write, read_json, write_json
from pneumonia.system.processes import count_cores
from pneumonia.system.progress import progress

PAGE, PICTURES, STAMP = "view.html", "view_images", "pictures.json"
THUMBNAIL, QUALITY = 256, 82  # pixels of a thumbnail's side, JPEG quality
MEMBER_BOXES = 10  # of an image: a member's most confident boxes, in the large picture


@dataclass(frozen=True, eq=False)
class View:
    """What the page shows. All tables have the same images in the same order.

    title, lead, note: text. detections: boxes before the threshold. threshold: where the slider starts.
    table: patientId, and where known class, sex, age (years) and view. sizes: (images, 2) rows, columns of the
    originals. members: each member's own boxes. classifiers: (images,) each classifier's probability of opacity.
    picture: row to a square (size, size) uint8. pictures_key: text that changes with the pictures.
    """

    title: str
    lead: str
    note: str
    truth: Truth
    detections: Detections
    threshold: float
    table: pd.DataFrame
    sizes: np.ndarray
    picture: Callable[[int], np.ndarray]
    pictures_key: str
    members: Mapping[str, Detections] = field(default_factory=dict)
    classifiers: Mapping[str, np.ndarray] = field(default_factory=dict)


def write_view(folder: Path, view: View, image_size: int) -> Path:
    """Write view.html and view_images/ to a folder; returns the page. Pictures that are there already are kept.

    Args:
        image_size: side of the large pictures in pixels; they are not enlarged.
    """
    write_pictures(folder / PICTURES, view, image_size)
    with atomic_write(folder / PAGE) as file:
        file.write(build_page(view))
    return folder / PAGE


def build_page(view: View) -> str:
    """The HTML document."""
    script = Path(__file__).with_name("view.js").read_text(encoding="utf-8")
    style = Path(__file__).with_name("view.css").read_text(encoding="utf-8")
    content = json.dumps(page_data(view), separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{page.escape(view.title)}</title>\n<style>\n{style}</style></head>\n<body>\n"
        f'<h1>{page.escape(view.title)}</h1><p class="lead">{page.escape(view.lead)}</p>\n'
        f'<p class="note">{page.escape(view.note)}</p>\n<main id="view"></main>\n'
        f'<script type="application/json" id="data">{content}</script>\n'
        f'<script type="module">\n{script}</script>\n</body></html>\n'
    )


def page_data(view: View) -> dict:
    """The page's content: per image its size, groups, true boxes, and predicted boxes in descending confidence.

    A predicted box is [confidence, x, y, width, height, matches]: bit k of `matches` says whether it matches a true box
    at the k-th IoU threshold. Confidences have all their digits, so that the page's score is exact.
    """
    ordered = view.detections.by_confidence()
    bits = box_matches(view.truth, ordered) @ (1 << np.arange(8))
    members = {name: table.by_confidence() for name, table in view.members.items()}
    groups = [*groups_of(view.table), ("box size", box_sizes(view.truth))]
    images = []
    for row, image in enumerate(view.truth.ids):
        own = slice(ordered.offsets[row], ordered.offsets[row + 1])
        true = view.truth.boxes[view.truth.offsets[row] : view.truth.offsets[row + 1]]
        images.append(
            {
                "id": image,
                "size": view.sizes[row][::-1].tolist(),
                "groups": [values[row] for _, values in groups],
                "truth": np.round(true, 2).tolist(),
                "boxes": [
                    [score, *box, match]
                    for score, box, match in zip(
                        ordered.scores[own].tolist(), np.round(ordered.boxes[own], 2).tolist(), bits[own].tolist()
                    )
                ],
                "members": [top_boxes(table, row) for table in members.values()],
                "probabilities": [round(float(column[row]), 6) for column in view.classifiers.values()],
            }
        )
    return {
        "threshold": view.threshold,
        "pictures": PICTURES,
        "groups": [name for name, _ in groups],
        "sizes": list(SIZES),
        "members": list(view.members),
        "classifiers": list(view.classifiers),
        "images": images,
    }


def groups_of(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """(column, value of each image) for class, sex, age band and view, where the table has them."""
    groups = [("class", [*table["class"]])] if "class" in table else []
    if {"sex", "age", "view"} <= set(table):
        values: dict[str, np.ndarray] = {}
        for column, value, rows in subgroups(table):
            values.setdefault(column, np.full(len(table), "", dtype=object))[rows] = value
        groups += [(column, texts.tolist()) for column, texts in values.items()]
    return groups


def box_sizes(truth: Truth) -> list[list[str]]:
    """The sizes that each image's true boxes have: small, medium, large."""
    names = sizes_of(truth.boxes) if len(truth.boxes) else np.array([], dtype=str)
    return [
        sorted(set(names[start:end].tolist()), key=SIZES.index)
        for start, end in zip(truth.offsets[:-1], truth.offsets[1:])
    ]


def top_boxes(table: Detections, row: int) -> list[list[float]]:
    """The most confident boxes of one image: [confidence, x, y, width, height]."""
    boxes, scores = table.image(row)
    rows = np.column_stack([np.round(scores, 4), np.round(boxes, 1)])
    return rows[:MEMBER_BOXES].tolist()


# ------------------------------------------------------------------ pictures


def write_pictures(folder: Path, view: View, image_size: int) -> None:
    """Write thumbs/N.jpg and full/N.jpg for the image in row N; nothing where the same pictures are there.

    Raises:
        EnvironmentFailure: the disk is full or the folder cannot be written.
    """
    stamp = {"key": config.short_hash([view.pictures_key, list(view.truth.ids)]), "sizes": [THUMBNAIL, image_size]}
    if (folder / STAMP).is_file() and read_json(folder / STAMP) == stamp:
        return

    def write(row: int) -> None:
        square = view.picture(row)
        for name, side in (("thumbs", THUMBNAIL), ("full", min(image_size, len(square)))):
            small = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA) if side < len(square) else square
            _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            (folder / name / f"{row}.jpg").write_bytes(encoded.tobytes())

    try:
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("thumbs", "full"):
            (folder / name).mkdir(parents=True)
        rows: Sequence[int] = range(len(view.truth))
        with ThreadPoolExecutor(count_cores()) as pool:
            for _ in progress(pool.map(write, rows), "pictures", total=len(rows)):
                pass
        write_json(folder / STAMP, stamp)
    except OSError as error:
        raise EnvironmentFailure(f"{folder}: cannot be written: {error.strerror}; {FREE_SPACE}") from error
