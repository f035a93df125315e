"""Generate the demo competition: synthetic radiographs in exactly the RSNA 2018 layout and file format.

    folder/
        stage_2_train_images/<patientId>.dcm      1024 x 1024, 8 bit, JPEG Baseline
        stage_2_test_images/<patientId>.dcm
        stage_2_train_labels.csv                  patientId,x,y,width,height,Target
        stage_2_detailed_class_info.csv           patientId,class: a row for every label row
        stage_2_sample_submission.csv             patientId,PredictionString
        mapping.csv                               patientId,nih_image,nih_patient: the person on each image
        test_labels.csv                           the test images' labels, which score final submissions
        phantom.json                              generator version, settings, counts

Each image has its own random generator, so that the bytes depend on the settings only, not on the workers.
A score on the demo says nothing about real radiographs.
"""

import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pneumonia.demo.difficulty import Difficulty
from pneumonia.demo.files import CLASS_NAMES, VERSION, Image, write_dicom, write_tables
from pneumonia.demo.person import draw_person, follow_up
from pneumonia.demo.radiograph import DEFAULT_DIFFICULTY, radiograph
from pneumonia.system.errors import EnvironmentFailure, bad_input
from pneumonia.system.files import DISK_FULL, exclusive_lock, read_json
from pneumonia.system.processes import count_cores, map_in_processes
from pneumonia.system.progress import progress

# 35.3 % positive, as the 1,000 public labels that are distributed like the competition's test set (22.5 % in the whole
# training table): a small demo needs its positives. The rest is split as in the table, 8,851 : 11,821.
SHARES = {"normal": 0.277, "not_normal": 0.370, "opacity": 0.353}
# Share of AP among the images of each class, from the DICOM headers (26,684 images).
AP_SHARES = {"normal": 0.185, "not_normal": 0.497, "opacity": 0.776}
# Images per person, from the image-to-person mapping: share of people with 1, 2, ... images (11,410 people, mean
# 2.33, at most 65). The tail is cut at 12, so that one person does not dominate a demo of a few hundred images.
IMAGES_PER_PERSON = (0.6195, 0.1582, 0.0809, 0.0391, 0.0247, 0.0159, 0.0124, 0.0100, 0.0057, 0.0051, 0.0040, 0.0245)
# How much a person's illness decides the class of one image. Set so that predicting an image's label from the same
# person's other images has the AUC measured on the real tables, 0.725.
PERSON_WEIGHT = 0.55
# Likewise for the view, given the class: two images of a person are both AP more often than the classes explain.
VIEW_PERSON_WEIGHT = 0.85


@dataclass(frozen=True)
class DemoSettings:
    """All that decides the bytes of the demo, together with VERSION."""

    train_images: int
    test_images: int
    seed: int = 0
    difficulty: Difficulty = DEFAULT_DIFFICULTY


def generate(
    folder: str | Path,
    train_images: int,
    test_images: int,
    seed: int = 0,
    workers: int | None = None,
    difficulty: Difficulty = DEFAULT_DIFFICULTY,
) -> Path:
    """Generate the demo competition in `folder`, or return at once if the same one exists.

    The folder appears complete or not at all. A second process waits for the first.

    Args:
        folder: the demo's folder; its parent is created if missing.
        train_images, test_images: numbers of images, at least 1.
        workers: processes; None: one per core; 1: this process.

    Returns:
        `folder`.

    Raises:
        BadInput: `folder` exists and is not a demo competition.
    """
    folder = Path(folder)
    settings = DemoSettings(train_images, test_images, seed, difficulty)
    if min(train_images, test_images) < 1:
        raise bad_input(folder, "a demo needs images", "give at least one training and one test image")
    identity = json.loads(json.dumps({"generator": "phantom", "version": VERSION, **asdict(settings)}))
    if _exists(folder, identity):
        return folder
    with exclusive_lock(folder.with_name(f".{folder.name}.lock"), f"{folder.name}, which it draws,", waits=True):
        if not _exists(folder, identity):  # another process may have generated it meanwhile
            _generate(folder, settings, identity, workers)
    return folder


def _generate(folder: Path, settings: DemoSettings, identity: dict, workers: int | None) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        images = plan(settings)
        for part in ("train", "test"):
            (temporary / f"stage_2_{part}_images").mkdir()
        radiographs = _draw_images(images, settings, temporary, workers)
        boxes = dict(progress(radiographs, "drawing the demo's radiographs", total=len(images)))
        write_tables(temporary, images, boxes)
        counts = {kind: sum(image.kind == kind for image in images) for kind in CLASS_NAMES}
        counts |= {"people": len({image.person_number for image in images}), "boxes": sum(map(len, boxes.values()))}
        (temporary / "phantom.json").write_text(json.dumps(identity | {"counts": counts}, indent=1) + "\n", "utf-8")
        if folder.exists():  # empty, or a demo of other settings
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise EnvironmentFailure(f"{folder}: the disk is full; free space and run it again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exists(folder: Path, identity: dict) -> bool:
    """Whether `folder` is this demo. Raises BadInput if it is anything else than a demo, which may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        info = read_json(folder / "phantom.json")
    except (OSError, ValueError):
        info = {}
    if not isinstance(info, dict) or info.get("generator") != "phantom":
        raise bad_input(folder, "exists and is not a demo competition", "choose another folder for the demo")
    return {key: info.get(key) for key in identity} == identity


# --- planning the images -------------------------------------------------------------------------------------


def plan(settings: DemoSettings) -> list[Image]:
    """Plan all images of the demo, in the order of their ids. No person is in both training and test images."""
    images: list[Image] = []
    people = 0
    for part_number, (part, count) in enumerate((("train", settings.train_images), ("test", settings.test_images))):
        rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(0, part_number)))
        owner = _people_of(rng, count)
        kinds = _kinds(rng, owner)
        views = _views(rng, owner, kinds)
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


def _kinds(rng: np.random.Generator, owner: np.ndarray) -> list[str]:
    """The class of each image, in exactly the SHARES (rounded).

    The sickest images are opacities, the healthiest normal; an image's sickness depends partly on its person's illness.
    """
    count = len(owner)
    illness = rng.standard_normal(owner.max() + 1)
    # ill people have more images: those with many are a little sicker, as in the real tables
    illness += 0.25 * np.log(np.bincount(owner))
    own_part = rng.standard_normal(count)
    sickness = math.sqrt(PERSON_WEIGHT) * illness[owner] + math.sqrt(1 - PERSON_WEIGHT) * own_part
    rank = np.argsort(np.argsort(sickness))
    normal, opacity = round(SHARES["normal"] * count), max(1, round(SHARES["opacity"] * count))
    kinds = np.where(rank >= count - opacity, "opacity", np.where(rank < normal, "normal", "not_normal"))
    return [str(kind) for kind in kinds]


def _views(rng: np.random.Generator, owner: np.ndarray, kinds: list[str]) -> list[str]:
    """The view of each image: AP by the AP_SHARES of its class, and in part by its person."""
    habit = rng.standard_normal(owner.max() + 1)
    weight = VIEW_PERSON_WEIGHT
    lean = math.sqrt(weight) * habit[owner] + math.sqrt(1 - weight) * rng.standard_normal(len(owner))
    quantile = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in lean])  # uniform: the normal CDF of N(0, 1)
    return ["AP" if q < AP_SHARES[kind] else "PA" for q, kind in zip(quantile, kinds)]


# --- drawing the images ---------------------------------------------------------------------------------------


def _draw_images(
    images: list[Image], settings: DemoSettings, folder: Path, workers: int | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw and write every image; yields patientId and boxes, in order."""
    workers = min(workers or count_cores(), max(1, len(images) // 8))
    jobs = [(image, settings.seed, settings.difficulty, folder) for image in images]
    if workers == 1:
        yield from map(_draw_image, jobs)
        return
    yield from map_in_processes(_draw_image, jobs, workers, chunksize=4)


def _draw_image(job: tuple[Image, int, Difficulty, Path]) -> tuple[str, np.ndarray]:
    image, seed, difficulty, folder = job
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, image.number)))
    pixels, boxes, header = radiograph(rng, image.kind, image.view, image.person, difficulty)
    path = folder / f"stage_2_{image.part}_images" / f"{image.patient_id}.dcm"
    write_dicom(path, pixels, image.patient_id, header)
    return image.patient_id, boxes
