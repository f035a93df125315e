"""Made-up releases of RSNA's, file by file like the real one, of any size.

export_of(images, folder)           the three JSON files and Kaggle's sample submission
release_of(kaggle, folder)          a competition in Kaggle's form, which the demo is, as a release of the same DICOMs
draw_images(count)                  images without pixels, for a release of full size
numbered_image(number, kind)        one of a few, with ids that are easy to read
"""

import csv
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from pneumonia import cli
from pneumonia.demo.files import write_dicom

ADJUDICATED = "pneumonia-challenge-annotations-adjudicated-kaggle_2018.json"
ORIGINAL = "pneumonia-challenge-annotations-original_2018.json"
MAPPINGS = "pneumonia-challenge-dataset-mappings_2018.json"
SAMPLE = "stage_2_sample_submission.csv"
ARCHIVE = "mdai_rsna_project_x9N20BZa_images_2018-07-20-153330"
OPACITY, NOT_NORMAL, NORMAL = "Lung Opacity", "No Lung Opacity / Not Normal", "Normal"
GROUPS = {  # as the export names them, some with a space at the end
    "Default group": ("Exclude", "Question", "Flag for discussion"),
    "QA": ("QA", "Question Addressed"),
    "Team 1": ("Lung Opacity (High Prob)", "Lung Opacity (Med Prob) ", "Lung Opacity (Low Prob)", NOT_NORMAL, NORMAL),
    "Team 2": ("Lung Opacity ", NOT_NORMAL, NORMAL, "Exclude"),
    "Calculated": (OPACITY, NOT_NORMAL, NORMAL),
    "Adjudication": ("Adjudicate",),
}
READERS_GROUP = {"Readers": ("Lung Opacity", "No Lung Opacity", "Exclude ")}


@dataclass(frozen=True)
class Image:
    """kind: one of the three classes, "" for administrative labels only. boxes: x, y, width, height in pixels."""

    patient_id: str
    study: str
    series: str
    sop: str
    kind: str
    boxes: tuple[tuple[float, ...], ...]
    nih_image: str
    is_test: bool = False


def groups_json(groups: dict) -> list[dict]:
    return [
        {
            "id": f"G_{number}",
            "name": name,
            "labels": [
                {
                    "id": f"L_{number}_{row}",
                    "name": label,
                    "type": "global",
                    "shortName": label[:2],
                    "scope": "instance",
                }
                for row, label in enumerate(labels)
            ],
        }
        for number, (name, labels) in enumerate(groups.items())
    ]


def label_id(groups: dict, group: str, label: str) -> str:
    number = list(groups).index(group)
    return f"L_{number}_{[name.strip() for name in groups[group]].index(label)}"


def annotation(number: int, image: Image, label: str, box=None, reader: str = "U_calc", whole_study=False) -> dict:
    fields = {
        "id": f"A_{number:06x}",
        "parentId": None,
        "isImported": False,
        "isInterpolated": False,
        "createdAt": "2018-08-14T20:37:49.011Z",
        "createdById": reader,
        "updatedAt": "2018-08-14T20:37:49.011Z",
        "updatedById": reader,
        "StudyInstanceUID": image.study,
        "SeriesInstanceUID": image.series,
        "SOPInstanceUID": image.sop,
        "labelId": label,
        "annotationNumber": 1 if box else None,
        "height": 1024,
        "width": 1024,
        "data": dict(zip(("x", "y", "width", "height"), box)) if box else None,
        "note": None,
        "radlexTagIds": [],
        "reviewsPositiveCount": 0,
        "reviewsNegativeCount": 0,
    }
    if whole_study:
        del fields["SeriesInstanceUID"], fields["SOPInstanceUID"]
    return fields


def project(groups: dict, images: Sequence[Image], annotations: list[dict]) -> dict:
    studies = [{"StudyInstanceUID": image.study, "number": row, "findings": ""} for row, image in enumerate(images, 1)]
    dataset = {"id": "D_e57", "name": "ChestX-ray14", "studies": studies, "annotations": annotations}
    return {
        "id": "x9N20BZa",
        "name": "ChestX-ray14 subset: Pneumonia",
        "description": "",
        "labelGroups": groups_json(groups),
        "datasets": [dataset],
    }


def export_of(images: Sequence[Image], folder: Path, seed: int = 0, sample: bool = True) -> Path:
    """Write the JSON files. One reader reads each image, every tenth of them wrongly."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    annotations, readings = [], []

    def add(image, group, label, **more):
        annotations.append(annotation(len(annotations), image, label_id(GROUPS, group, label), **more))

    def read(image, label, **more):
        readings.append(annotation(len(readings), image, label_id(READERS_GROUP, "Readers", label), **more))

    for row, image in enumerate(images):
        team = "Lung Opacity (Med Prob)" if image.kind == OPACITY else image.kind
        if not image.kind:
            add(image, "Default group", "Exclude", reader="U_1")
            add(image, "QA", "Question Addressed", reader="U_2", whole_study=True)
            continue
        for box in image.boxes or (None,):
            add(image, "Calculated", image.kind, box=box)
            add(image, "Team 1", team, box=box, reader="U_1")
        is_wrong = row % 10 == 9
        if (image.kind == OPACITY) != is_wrong:
            for box in image.boxes or ((100.0, 100.0, 200.0, 300.0),):
                shift = rng.integers(-20, 21, 4).tolist()
                read(
                    image, "Lung Opacity", box=[side + moved for side, moved in zip(box, shift)], reader=f"U_{row % 4}"
                )
        else:
            read(image, "No Lung Opacity", reader=f"U_{row % 4}")
    (folder / ADJUDICATED).write_text(json.dumps(project(GROUPS, images, annotations)))
    (folder / ORIGINAL).write_text(json.dumps(project(READERS_GROUP, images, readings)))
    mapping = [
        {
            "img_id": image.nih_image,
            "subset_img_id": image.patient_id,
            "subset_group": row % 6,
            "subset_init_label": 1,
            "orig_labels": ["Infiltration", "Mass"] if row % 3 else ["No Finding"],
            "StudyInstanceUID": image.study,
            "SeriesInstanceUID": image.series,
            "SOPInstanceUID": image.sop,
            "studyId": f"S_{row}",
            "seriesId": f"E_{row}",
            "instanceId": f"I_{row}",
        }
        for row, image in enumerate(images)
    ]
    (folder / MAPPINGS).write_text(json.dumps(mapping))
    if sample:
        rows = "".join(f"{image.patient_id},0.5 0 0 100 100\n" for image in images if image.is_test)
        (folder / SAMPLE).write_text("patientId,PredictionString\n" + rows)
    return folder


def archive_path(image: Image) -> str:
    return f"{ARCHIVE}/{image.study}/{image.series}/{image.sop}.dcm"


# ------------------------------------------------------------------ from a competition in Kaggle's form


def release_of(kaggle: Path, folder: Path, excluded: int = 2, sample: bool = True) -> tuple[Path, list[Image]]:
    """Write a competition in Kaggle's form, with a mapping.csv and test_labels.csv, as a release of the same files.

    Args:
        excluded: number of further images, copies of training images, that have administrative labels only.

    Returns:
        `folder`, and the images.
    """
    kinds = {row["patientId"]: row["class"] for row in rows_of(kaggle / "stage_2_detailed_class_info.csv")}
    boxes: dict[str, list] = {}
    for name in ("stage_2_train_labels.csv", "test_labels.csv"):
        for row in rows_of(kaggle / name):
            own = boxes.setdefault(row["patientId"], [])
            if row["Target"] == "1":
                own.append(tuple(float(row[side]) for side in ("x", "y", "width", "height")))
    nih = {row["patientId"]: row["nih_image"] for row in rows_of(kaggle / "mapping.csv")}
    images = []
    for part in ("train", "test"):
        for path in sorted((kaggle / f"stage_2_{part}_images").glob("*.dcm")):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            own = tuple(boxes[path.stem])
            image = Image(
                path.stem,
                header.StudyInstanceUID,
                header.SeriesInstanceUID,
                header.SOPInstanceUID,
                kinds.get(path.stem, OPACITY if own else NORMAL),
                own,
                nih[path.stem],
                part == "test",
            )
            images.append(image)
            copy(path, folder / archive_path(image))
    for number in range(excluded):
        series = f"2.25.{number + 1}"
        image = Image(
            str(uuid.UUID(int=number)), f"{series}.1", f"{series}.2", f"{series}.3", "", (), "00099999_000.png"
        )
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.SOPInstanceUID = image.patient_id, image.sop
        (folder / archive_path(image)).parent.mkdir(parents=True)
        dataset.save_as(folder / archive_path(image))
        images.append(image)
    return export_of(images, folder, sample=sample), images


def rows_of(table: Path) -> list[dict[str, str]]:
    with open(table, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


# ------------------------------------------------------------------ at full size


def draw_images(count: int = 30_000, test: int = 3_000, seed: int = 0, side: int = 1024) -> list[Image]:
    """Images with the shares of the real release: 24 % with opacities, 316 of 30,000 without a consensus.

    side: of the images, in pixels, which no box leaves.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.choice([OPACITY, NOT_NORMAL, NORMAL, ""], count, p=[0.237, 0.426, 0.326, 0.011])
    people = np.sort(rng.integers(1, max(2, count * 3 // 7), count))
    labelled = np.flatnonzero(kinds != "")
    is_test = np.zeros(count, dtype=bool)
    is_test[rng.choice(labelled, test, replace=False)] = True
    images = []
    for row in range(count):
        stem = f"8323329.{10_000 + row}.1517874{row % 1000:03d}"  # all of one length
        uids = [f"1.2.276.0.7230010.3.1.{level}.{stem}.{100000 + level}" for level in (2, 3, 4)]
        boxes = []
        for _ in range(rng.choice([1, 2, 3], p=[0.43, 0.545, 0.025]) if kinds[row] == OPACITY else 0):
            box = rng.uniform((0, 0, 80, 100), (600, 500, 400, 500)).round(1)
            x, y, width, height = (box * side / 1024).tolist()
            boxes.append((x, y, width, height))
        patient_id = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        nih_image = f"{people[row]:08d}_{row % 1000:03d}.png"
        images.append(Image(patient_id, *uids, str(kinds[row]), tuple(boxes), nih_image, bool(is_test[row])))
    return images


def write_pixels(images: Sequence[Image], folder: Path, side: int = 16) -> None:
    """Write a DICOM of a few pixels for each image of `draw_images`: one file, with the image's own UID in it."""
    first = images[0]
    header = {"PatientSex": "M", "PatientAge": "45", "ViewPosition": "AP", "PixelSpacing": 0.143}
    place = folder / "template.dcm"
    write_dicom(place, np.full((side, side), 90, np.uint8), first.patient_id, header)
    dataset = pydicom.dcmread(place)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = first.sop
    dataset.save_as(place)
    template = place.read_bytes()
    place.unlink()
    for image in images:
        path = folder / archive_path(image)
        path.parent.mkdir(parents=True)
        path.write_bytes(template.replace(first.sop.encode(), image.sop.encode()))


def numbered_image(number: int, kind: str, *boxes, is_test=False) -> Image:
    uids = [f"1.2.3.{number}.{level}" for level in range(3)]
    return Image(f"{number:08x}-0000-4000-8000-000000000000", *uids, kind, boxes, f"{number:08d}_000.png", is_test)


def edit(folder: Path, change, name: str = ADJUDICATED) -> None:
    """Change a JSON file. change: takes its content, and changes it or returns another."""
    content = json.loads((folder / name).read_text())
    replaced = change(content)
    (folder / name).write_text(json.dumps(content if replaced is None else replaced))


def result_of(capsys, *words) -> tuple[int, dict]:
    """Run a command in this process; return its exit code and its JSON."""
    code = cli.main([*map(str, words), "json=true"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])
