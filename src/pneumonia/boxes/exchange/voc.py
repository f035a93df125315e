"""Pascal VOC: Annotations/ID.xml with the true boxes, ImageSets/Main/ with lists of images, and a file of results.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf. Corners are pixels counted from 0 and not rounded, as
LabelImg and CVAT write them; VOC's own files count from 1.
"""

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.boxes.exchange.box_set import CLASS_NAME, BoxSet, check_file_names, write_images
from pneumonia.system.csv_rows import format_exactly

RESULTS = f"results/Main/comp4_det_test_{CLASS_NAME}.txt"


def write(folder: Path, boxes: BoxSet) -> None:
    """Write true boxes as XML, predictions as `ID score x_min y_min x_max y_max`, and images.csv with all images."""
    check_file_names(boxes.ids, folder)
    write_images(folder, boxes)
    lists = boxes.splits() or {"all": list(boxes.ids)}
    (folder / "ImageSets/Main").mkdir(parents=True)
    for name, ids in lists.items():
        (folder / "ImageSets/Main" / f"{name}.txt").write_text("".join(f"{image}\n" for image in ids), encoding="utf-8")
    if boxes.truth is not None:
        (folder / "Annotations").mkdir()
        for row, image in enumerate(boxes.ids):
            text = annotation(image, boxes.truth.image(row)[0], boxes.sizes[row])
            (folder / "Annotations" / f"{image}.xml").write_text(text, encoding="utf-8")
    if boxes.predictions is not None:
        (folder / RESULTS).parent.mkdir(parents=True)
        corners = geometry.to_corners(boxes.predictions.boxes).tolist()
        with open(folder / RESULTS, "w", encoding="utf-8") as file:
            for image, score, row in zip(boxes.predictions.image_of_box, boxes.predictions.scores.tolist(), corners):
                file.write(f"{boxes.ids[image]} {score!r} {' '.join(map(format_exactly, row))}\n")


def annotation(image: str, xywh: np.ndarray, size: np.ndarray) -> str:
    """The XML of one image. xywh: (n, 4) in pixels. size: width, height."""
    objects = []
    for corners in geometry.to_corners(xywh).tolist():
        bounds = "".join(
            f"<{name}>{format_exactly(value)}</{name}>"
            for name, value in zip(("xmin", "ymin", "xmax", "ymax"), corners)
        )
        objects.append(
            f"  <object><name>{CLASS_NAME}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox>{bounds}</bndbox></object>\n"
        )
    return (
        f"<annotation>\n  <folder>images</folder><filename>{escape(image)}.png</filename>\n"
        f"  <size><width>{size[0]}</width><height>{size[1]}</height><depth>1</depth></size>\n"
        f"  <segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
    )
