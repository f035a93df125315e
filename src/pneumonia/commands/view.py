"""`./run.sh view`: one page to look at a submission's boxes, radiograph by radiograph."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.boxes.exchange.reading import content_sha256, read_predictions
from pneumonia.boxes.image_ids import spelling_difference
from pneumonia.commands.member_files import named_files
from pneumonia.commands.submission_names import TABLE, submission_file
from pneumonia.data.cache import cached_size
from pneumonia.data.competition import resolve
from pneumonia.data.image_files import read_header, read_scaled
from pneumonia.ensemble.nested import check_same_images
from pneumonia.metrics.iou_map import read_truth
from pneumonia.reports.job_view import read_job_view
from pneumonia.reports.view import View, write_view
from pneumonia.system.errors import bad_input
from pneumonia.system.files import read_json
from pneumonia.system.progress import progress


def view(settings: schema.View) -> dict:
    """Write view.html with its folder of pictures; return their paths.

    Raises:
        BadInput: no such submission; for predictions of another source, no labels or no radiographs.
    """
    file = submission_file(settings.submission)
    folder = file.parent
    result = folder / "result.json"
    if not settings.labels and file.name == TABLE and result.is_file() and "runs" in read_json(result):
        content = read_job_view(folder)
    else:
        content = read_file_view(file, settings)
        folder = config.REPOSITORY / "submissions" / f"view-{content.pictures_key}"
    out = config.user_path(settings.out) if settings.out else folder
    page = write_view(out, content, settings.image_size)
    print(f"{len(content.truth)} images: {page}")
    return {"page": page, "images": len(content.truth), "threshold": content.threshold}


def read_file_view(file: Path, settings: schema.View) -> View:
    """The view of any file of predictions, with labels= and the radiographs of data=."""
    labels = config.required_path(settings.labels, "labels", "the label table of the predicted images")
    if not settings.data:
        raise bad_input(
            "command line", "data= is missing", "give data=DIR, the competition's folder with the radiographs"
        )
    detections, truth, competition = read_predictions(file), read_truth(labels), resolve(settings)
    members = {name: read_predictions(path) for name, path in named_files(settings.members, "members").items()}
    check_same_images({str(file): detections, **members}, {})
    files = competition.train_images | competition.test_images
    for known, place, fix in (
        (set(truth.ids), labels.name, "give the labels of these images"),
        (set(files), competition.root, "give the folder with these radiographs"),
    ):
        unknown = [image for image in detections.ids if image not in known]
        if unknown:
            what = f"{len(unknown)} of its images are not in {place}, the first is {unknown[0]}"
            raise bad_input(file, what + spelling_difference(unknown, known), fix)
    headers = [read_header(files[image]) for image in progress(detections.ids, "headers")]
    table = pd.DataFrame([dataclasses.asdict(header) for header in headers])
    size = cached_size(settings.image_size)
    inputs = [str(settings.members), *map(content_sha256, (file, labels)), competition.content_key]
    return View(
        title=f"Radiographs: {file.name}",
        lead=f"{len(detections)} images with labels of {labels.name}",
        note="A score at a threshold chosen here, on the same images, is optimistic. Not a medical device.",
        truth=truth.select(detections.ids),
        detections=detections,
        threshold=0.0,
        table=table,
        sizes=np.array([(header.rows, header.columns) for header in headers]).reshape(-1, 2),
        picture=lambda row: read_scaled(files[detections.ids[row]], size)[0],
        pictures_key=config.short_hash(inputs),
        members={Path(name).name: member.select(detections.ids) for name, member in members.items()},
    )
