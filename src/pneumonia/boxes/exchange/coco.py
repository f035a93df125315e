"""COCO JSON: annotations.json (images, true boxes) and predictions.json (the results form).

https://cocodataset.org/#format-data and #format-results. A box is [x, y, width, height] as here, and JSON keeps every
digit: writing and reading gives the same bits. Images are numbered from 1; `file_name` is patientId.png, and the key
`patientId`, which others ignore, has the id as it is.
"""

import json
import math
from pathlib import Path

import numpy as np

from pneumonia.boxes.exchange.box_set import CLASS_NAME, BoxSet
from pneumonia.boxes.predictions import Detections, wrong_boxes
from pneumonia.system.csv_rows import first_faults, read_text
from pneumonia.system.errors import Fault, bad_input

ANNOTATIONS, PREDICTIONS = "annotations.json", "predictions.json"
CATEGORY = 1
IMAGE_SUFFIXES = (".png", ".dcm", ".jpg", ".jpeg")


def dataset_of(boxes: BoxSet, ids: list[str] | None = None) -> dict:
    """The content of annotations.json.

    Args:
        ids: the images to list; None: all. An image has the same number in every list.
    """
    numbers = {image: number for number, image in enumerate(boxes.ids, 1)}
    listed = numbers if ids is None else set(ids)
    images = [
        {"id": numbers[image], "patientId": image, "file_name": f"{image}.png", "width": width, "height": height}
        for image, (width, height) in zip(boxes.ids, boxes.sizes.tolist())
        if image in listed
    ]
    annotations = []
    if boxes.truth is not None:
        for row, image in enumerate(boxes.ids):
            if image not in listed:
                continue
            for box in boxes.truth.image(row)[0].tolist():
                area = box[2] * box[3]
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": numbers[image], "category_id": CATEGORY, "bbox": box,
                     "area": area, "iscrowd": 0}
                )  # fmt: skip
    categories = [{"id": CATEGORY, "name": CLASS_NAME, "supercategory": CLASS_NAME}]
    return {"images": images, "annotations": annotations, "categories": categories}


def results_of(predictions: Detections) -> list[dict]:
    """The content of predictions.json; images are numbered from 1 in the order of `predictions`."""
    return [
        {"image_id": image + 1, "category_id": CATEGORY, "bbox": box, "score": score}
        for image, box, score in zip(
            predictions.image_of_box.tolist(), predictions.boxes.tolist(), predictions.scores.tolist()
        )
    ]


def write(folder: Path, boxes: BoxSet) -> None:
    """Write annotations.json, a JSON of each list of the fold table, and predictions.json where there are any."""
    files = {ANNOTATIONS: dataset_of(boxes)}
    files |= {f"{name}.json": dataset_of(boxes, ids) for name, ids in boxes.splits().items()}
    if boxes.predictions is not None:
        files[PREDICTIONS] = results_of(boxes.predictions)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content) + "\n", encoding="utf-8")


# ------------------------------------------------------------------ reading predictions


def read(path: Path) -> tuple[Detections, list[Fault]]:
    """Read predictions in the results form: [{image_id, category_id, bbox, score}, ...].

    annotations.json in the same folder names the images: their numbers, and those without a box. Without it every
    `image_id` must be a text, the patientId (or a file's name, as ultralytics writes it), and only images with a box
    are known.

    Raises:
        BadInput: not JSON of that form, boxes of several categories, or numbers without annotations.json.
    """
    results = parse_json(path)
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise bad_input(path, "is not a list of results", "give a list of {image_id, category_id, bbox, score}")
    categories = sorted({str(each.get("category_id")) for each in results})
    if len(categories) > 1:
        fix = f"keep the results of the category that means {CLASS_NAME}"
        raise bad_input(path, f"has boxes of the categories {', '.join(categories)}", fix)
    names = read_image_names(path)
    known = set(names.values())
    boxes: dict[str, list] = {image: [] for image in names.values()}
    numbers: dict[str, list[int]] = {}
    faults: list[Fault] = []
    for number, each in enumerate(results, 1):
        image, fault = image_of(each.get("image_id"), names, known)
        values = [*each["bbox"], each.get("score")] if isinstance(each.get("bbox"), list) else []
        if fault is None and not (len(values) == 5 and all(map(is_number, values))):
            fault = "it has no bbox of four numbers and a score", "write bbox: [x, y, width, height] and score"
        if fault is not None:
            faults.append(Fault("result", str(path), None, f"result {number}: {fault[0]}", fault[1]))
            continue
        boxes.setdefault(image, []).append([float(value) for value in values])
        numbers.setdefault(image, []).append(number)
    if not boxes and not faults:
        fix = f"put the {ANNOTATIONS} that lists the images beside it"
        raise bad_input(path, "has no results, so that no image is known", fix)
    tables = [np.reshape(np.array(rows, dtype=np.float64), (-1, 5)) for rows in boxes.values()]
    detections = Detections.from_lists([*boxes], [table[:, :4] for table in tables], [table[:, 4] for table in tables])
    places = [number for image in boxes for number in numbers.get(image, [])]
    for box, code, what, fix in wrong_boxes(detections):
        faults.append(Fault(code, str(path), None, f"result {places[box]}: {what}", fix))
    return detections, first_faults(faults, path)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def image_of(number: object, names: dict, known: set[str]) -> tuple[str, tuple[str, str] | None]:
    """The patientId of an `image_id`, and what is wrong with it: (what, fix).

    Args:
        names, known: of `read_image_names`, and its values.
    """
    if not isinstance(number, str | int | float):
        return "", (f"image_id {number!r} is no number and no text", "write the id of the image")
    if number in names:
        return names[number], None
    if isinstance(number, str) and number:
        image = number if number in known else without_suffix(number)
        if not names or image in known:
            return image, None
    if names:
        return "", (f"image_id {number!r} is not in {ANNOTATIONS}", "give the ids of its images")
    return "", (f"image_id {number!r} is a number", f"put the {ANNOTATIONS} that the model was trained on beside it")


def read_image_names(path: Path) -> dict:
    """{id: patientId} of the images in annotations.json beside `path`; empty where there is none. Raises BadInput."""
    file = path.with_name(ANNOTATIONS)
    if not file.is_file():
        return {}
    content = parse_json(file)
    images = content.get("images") if isinstance(content, dict) else None
    try:
        names = {image["id"]: image.get("patientId") or without_suffix(image["file_name"]) for image in images}
    except (TypeError, KeyError, AttributeError) as error:
        raise bad_input(file, "has no list of images with id and file_name", "write it by ./run.sh export") from error
    if len(set(names.values())) < len(names):
        raise bad_input(file, "names a file_name twice", "list every image once")
    return names


def without_suffix(file_name: str) -> str:
    """patientId of a file's name: without folder and suffix."""
    name = file_name.replace("\\", "/").rpartition("/")[2]
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def parse_json(path: Path):
    """Read a JSON file. Raises BadInput where it is not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise bad_input(path, f"is not valid JSON: {error.msg}", "write the file again", error.lineno) from error
