"""The demo competition: synthetic radiographs in exactly the RSNA 2018 layout and file format.

    folder/
        stage_2_train_images/<patientId>.dcm      1024 x 1024, 8 bit, JPEG Baseline
        stage_2_test_images/<patientId>.dcm
        stage_2_train_labels.csv                  patientId,x,y,width,height,Target
        stage_2_detailed_class_info.csv           patientId,class: a row for every label row
        stage_2_sample_submission.csv             patientId,PredictionString
        mapping.csv                               patientId,nih_image,nih_patient: which images are of one person
        test_labels.csv                           the test images' labels, kept apart: the demo's true leaderboard
        phantom.json                              generator version, settings, counts

Each image has a random generator of its own, so the bytes depend on the settings only, not on the workers.
A score on the demo says nothing about real radiographs.
"""

import csv
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pydicom
import simplejpeg
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

from pneumonia.demo.anatomy import Person, draw_person, follow_up
from pneumonia.demo.findings import Difficulty
from pneumonia.demo.radiograph import DEFAULT_DIFFICULTY, radiograph
from pneumonia.system.errors import bad_input
from pneumonia.system.files import exclusive_lock, read_json
from pneumonia.system.processes import count_cores, map_in_processes
from pneumonia.system.progress import progress

VERSION = 6  # raise it whenever the output changes: folders of another version are made anew

CLASS_NAMES = {
    "normal": "Normal",
    "not_normal": "No Lung Opacity / Not Normal",
    "opacity": "Lung Opacity",
}
# 35.3 % positive, as the thousand public labels that were drawn like the competition's test set (22.5 % in the
# whole training table): a small demo needs its positives. The rest is split as in the table, 8,851 : 11,821.
SHARES = {"normal": 0.277, "not_normal": 0.370, "opacity": 0.353}
# Share of AP among the images of each class, from the DICOM headers (26,684 images).
AP_SHARES = {"normal": 0.185, "not_normal": 0.497, "opacity": 0.776}
# Images per person, from the image-to-person mapping: share of people with 1, 2, ... images (11,410 people, mean
# 2.33, at most 65). The tail is cut at 12, so that a demo of a few hundred images is not one person's.
IMAGES_PER_PERSON = (0.6195, 0.1582, 0.0809, 0.0391, 0.0247, 0.0159, 0.0124, 0.0100, 0.0057, 0.0051, 0.0040, 0.0245)
# How far a person's illness decides over the single image. Set so that guessing an image's label from the same
# person's other images has the AUC measured on the real tables, 0.725.
PERSON_WEIGHT = 0.55
# Of the view, given the class, likewise: two images of a person are both AP more often than the classes explain.
VIEW_PERSON_WEIGHT = 0.85
JPEG_QUALITY = 88


@dataclass(frozen=True)
class DemoSettings:
    """What decides every byte of the demo, beside VERSION."""

    train_images: int
    test_images: int
    seed: int = 0
    difficulty: Difficulty = DEFAULT_DIFFICULTY


@dataclass(frozen=True)
class Image:
    """One image to be made."""

    patient_id: str
    number: int  # its random stream
    part: str  # "train" or "test"
    kind: str  # key of CLASS_NAMES
    view: str
    person_number: int
    visit: int  # number of the image among the person's
    person: Person


def generate(
    folder: str | Path,
    train_images: int,
    test_images: int,
    seed: int = 0,
    workers: int | None = None,
    difficulty: Difficulty = DEFAULT_DIFFICULTY,
) -> Path:
    """Make the demo competition in `folder`, or return at once if the same one is there.

    The folder appears whole or not at all. Of two processes that want it the second waits for the first.

    Args:
        folder: where; its parent is made if missing.
        train_images, test_images: how many of each; at least 1.
        workers: processes; all cores if None, none but this one if 1.

    Returns:
        `folder`.

    Raises:
        BadInput: `folder` exists and is not a demo competition.
    """
    folder = Path(folder)
    settings = DemoSettings(train_images, test_images, seed, difficulty)
    if min(train_images, test_images) < 1:
        raise bad_input(folder, "a demo of no images was asked for", "ask for at least one training and one test image")
    wanted = _identity(settings)
    if _already_there(folder, wanted):
        return folder
    with exclusive_lock(folder.with_name(f".{folder.name}.lock"), f"{folder.name}, which it draws,", waits=True):
        if not _already_there(folder, wanted):  # drawn by another process meanwhile
            _draw_all(folder, settings, wanted, workers)
    return folder


def _draw_all(folder: Path, settings: DemoSettings, wanted: dict, workers: int | None) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        images = plan(settings)
        for part in ("train", "test"):
            (temporary / f"stage_2_{part}_images").mkdir()
        boxes = {}
        for patient_id, found in progress(
            _drawn(images, settings, temporary, workers), "drawing the demo's radiographs", total=len(images)
        ):
            boxes[patient_id] = found
        _write_tables(temporary, images, boxes)
        counts = {kind: sum(image.kind == kind for image in images) for kind in CLASS_NAMES}
        counts |= {"people": len({image.person_number for image in images}), "boxes": sum(map(len, boxes.values()))}
        (temporary / "phantom.json").write_text(json.dumps(wanted | {"counts": counts}, indent=1) + "\n", "utf-8")
        if folder.exists():  # empty, or a demo of other settings
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _identity(settings: DemoSettings) -> dict:
    return json.loads(json.dumps({"generator": "phantom", "version": VERSION, **asdict(settings)}))


def _already_there(folder: Path, wanted: dict) -> bool:
    """Whether `folder` is the wanted demo. A demo of other settings may be replaced; anything else may not."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = read_json(folder / "phantom.json")
    except (OSError, ValueError):
        found = {}
    if not isinstance(found, dict) or found.get("generator") != "phantom":
        raise bad_input(folder, "is there and is not a demo competition", "name another folder for the demo")
    return {key: found.get(key) for key in wanted} == wanted


# --- who is on which image -------------------------------------------------------------------------------------


def plan(settings: DemoSettings) -> list[Image]:
    """All images of the demo, in the order of their ids; training and test people are different people."""
    images: list[Image] = []
    people = 0
    for part_number, (part, count) in enumerate((("train", settings.train_images), ("test", settings.test_images))):
        rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(0, part_number)))
        owner = _people_of(rng, count)
        kinds, illness = _kinds(rng, owner)
        views = _views(rng, owner, kinds, illness)
        persons = [draw_person(rng) for _ in range(owner.max() + 1)]
        visits = np.zeros(owner.max() + 1, int)
        for i in range(count):
            visit = int(visits[owner[i]])
            visits[owner[i]] += 1
            images.append(
                Image(
                    patient_id=str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                    number=len(images),
                    part=part,
                    kind=kinds[i],
                    view=views[i],
                    person_number=people + int(owner[i]) + 1,
                    visit=visit,
                    person=follow_up(persons[owner[i]], int(rng.integers(0, 2)) if visit else 0),
                )
            )
        people += int(owner.max()) + 1
    return sorted(images, key=lambda image: image.patient_id)


def _people_of(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count,) int: the person of each image, numbered from 0."""
    shares = np.array(IMAGES_PER_PERSON) / sum(IMAGES_PER_PERSON)
    sizes = 1 + rng.choice(len(shares), count, p=shares)
    return np.repeat(np.arange(count), sizes)[:count]


def _kinds(rng: np.random.Generator, owner: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The class of each image, in exactly the SHARES (rounded), and each person's illness.

    The sickest images are opacities, the healthiest normal; an image's sickness is its person's illness in part.
    """
    count = len(owner)
    illness = rng.standard_normal(owner.max() + 1)
    # people come back because they are ill: those with many images are a little sicker, as in the real tables
    illness += 0.25 * np.log(np.bincount(owner))
    weight = PERSON_WEIGHT
    sickness = math.sqrt(weight) * illness[owner] + math.sqrt(1 - weight) * rng.standard_normal(count)
    rank = np.argsort(np.argsort(sickness))
    normal, opacity = round(SHARES["normal"] * count), max(1, round(SHARES["opacity"] * count))
    kinds = np.where(rank >= count - opacity, "opacity", np.where(rank < normal, "normal", "not_normal"))
    return [str(kind) for kind in kinds], illness


def _views(rng: np.random.Generator, owner: np.ndarray, kinds: list[str], illness: np.ndarray) -> list[str]:
    habit = rng.standard_normal(owner.max() + 1)
    weight = VIEW_PERSON_WEIGHT
    lean = math.sqrt(weight) * habit[owner] + math.sqrt(1 - weight) * rng.standard_normal(len(owner))
    quantile = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in lean])  # uniform: N(0, 1) through its own CDF
    return ["AP" if q < AP_SHARES[kind] else "PA" for q, kind in zip(quantile, kinds)]


# --- drawing and writing ---------------------------------------------------------------------------------------


def _drawn(
    images: list[Image], settings: DemoSettings, folder: Path, workers: int | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Draws and writes every image; yields patientId and boxes, in order."""
    workers = min(workers or count_cores(), max(1, len(images) // 8))
    jobs = [(image, settings.seed, settings.difficulty, folder) for image in images]
    if workers == 1:
        yield from map(_draw, jobs)
        return
    yield from map_in_processes(_draw, jobs, workers, chunksize=4)


def _draw(job: tuple[Image, int, Difficulty, Path]) -> tuple[str, np.ndarray]:
    image, seed, difficulty, folder = job
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, image.number)))
    pixels, boxes, header = radiograph(rng, image.kind, image.view, image.person, difficulty)
    path = folder / f"stage_2_{image.part}_images" / f"{image.patient_id}.dcm"
    write_dicom(path, pixels, image.patient_id, header)
    return image.patient_id, boxes


def write_dicom(path: Path, pixels: np.ndarray, patient_id: str, header: dict) -> None:
    """Write a radiograph as the competition ships them: the same elements, JPEG Baseline, encapsulated.

    Args:
        pixels: (1024, 1024) uint8.
        header: PatientSex, PatientAge, ViewPosition, PixelSpacing, as `radiograph` returns them.
    """
    number = uuid.UUID(patient_id).int
    instance, study, series = (f"2.25.{(number + step) % 2**128}" for step in range(3))
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.ImplementationClassUID = "2.25.227048301861937504283316902518"
    meta.ImplementationVersionName = f"PHANTOM_{VERSION}"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\x00" * 128)
    file.SpecificCharacterSet = "ISO_IR 100"
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, instance
    file.StudyDate, file.StudyTime, file.AccessionNumber = "19010101", "000000.00", ""
    file.Modality, file.ConversionType, file.ReferringPhysicianName = "CR", "WSD", ""
    file.SeriesDescription = f"view: {header['ViewPosition']}"
    file.PatientName = file.PatientID = patient_id
    file.PatientBirthDate, file.PatientSex = "", header["PatientSex"]
    # the competition writes the age without its unit, "62", which the standard does not allow ("062Y")
    file.add(DataElement("PatientAge", "AS", str(header["PatientAge"]), validation_mode=pydicom.config.IGNORE))
    file.BodyPartExamined, file.ViewPosition = "CHEST", header["ViewPosition"]
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.StudyID, file.SeriesNumber, file.InstanceNumber, file.PatientOrientation = "", 1, 1, ""
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = pixels.shape
    file.PixelSpacing = [header["PixelSpacing"]] * 2
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.LossyImageCompression, file.LossyImageCompressionMethod = "01", "ISO_10918_1"
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels[..., None]), JPEG_QUALITY, colorspace="GRAY")
    file.PixelData = encapsulate([jpeg], has_bot=True)
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True)


def _write_tables(folder: Path, images: list[Image], boxes: dict[str, np.ndarray]) -> None:
    def table(name: str, columns: str, rows) -> None:
        with open(folder / name, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns.split(","))
            writer.writerows(rows)

    def label_rows(part: str):
        for image in images:
            if image.part == part:
                found = boxes[image.patient_id]
                for x, y, width, height in found:
                    yield image.patient_id, float(x), float(y), float(width), float(height), 1
                if not len(found):
                    yield image.patient_id, "", "", "", "", 0

    table("stage_2_train_labels.csv", "patientId,x,y,width,height,Target", label_rows("train"))
    table("test_labels.csv", "patientId,x,y,width,height,Target", label_rows("test"))
    table(
        "stage_2_detailed_class_info.csv",
        "patientId,class",
        (
            (image.patient_id, CLASS_NAMES[image.kind])
            for image in images
            if image.part == "train"
            for _ in range(max(1, len(boxes[image.patient_id])))
        ),
    )
    table(
        "stage_2_sample_submission.csv",
        "patientId,PredictionString",
        ((image.patient_id, "0.5 0 0 100 100") for image in images if image.part == "test"),
    )
    table(
        "mapping.csv",
        "patientId,nih_image,nih_patient",
        (
            (image.patient_id, f"{image.person_number:08d}_{image.visit:03d}.png", image.person_number)
            for image in images
        ),
    )
