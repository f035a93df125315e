"""ultralytics' YOLOv8n beside yolov8_xs: held-out score, images per second and memory, on the same images and folds.

    PYTHONPATH=src .venv/bin/python benchmarks/peers.py data=DIR mapping=FILE [folds=[0,1,2,3,4]] [epochs=20] [out=DIR]

ultralytics (AGPL-3.0, not part of this program) is installed into cache/peers/, outside of .venv. Both are trained
from nothing by their own command lines, on the CPU: the same grouped folds, pixels, batches and epochs, and the same
strength of augmentation (augment=theirs: ultralytics' own, with mosaic). Neither predicts with test-time variants.

- Score: the competition's, of all held-out images, with a threshold fitted on other people; the difference is paired.
- Images per second and processor time: of the images of a command with EPOCHS[1] epochs over those of one with
  EPOCHS[0], so that start, compiling and prediction do not count; in prediction of a folder and a part of it. With the
  system's memory allocator and with jemalloc (system/allocator.py).
- Memory: of the largest process of the longer training.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from allocator import Cost, environments, measure
from pneumonia import config
from pneumonia.boxes.exchange.reading import read_predictions
from pneumonia.boxes.predictions import Detections, concatenate_tables, read_detections
from pneumonia.config import REPOSITORY
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import Prepared, prepare
from pneumonia.ensemble.nested import cross_fit_alone, problem_of
from pneumonia.metrics.intervals import difference_interval, mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.reports.numbers import interval_text, json_interval
from pneumonia.schema import Training, setting

PACKAGE = "ultralytics==8.4.190"
OURS, THEIRS = "yolov8_xs", "yolov8n"
EPOCHS = (1, 4)  # of the two trainings whose difference is timed
FEW = 32  # images of the smaller of two predicted folders
BOXES = {"conf": 0.01, "iou": 0.5, "max_det": 40}  # as yolov8_xs keeps them
# ultralytics' settings for what `light` of data/augment.py does
LIGHT = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0.15, "degrees": 3, "translate": 0.06, "scale": 0.1, "mosaic": 0}


@dataclass
class Settings:
    data: str = setting("", "competition folder")
    mapping: str = setting("", "image to person")
    folds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "scored; [] only times"})
    epochs: int = setting(20, "of the scored trainings")
    image_size: int = setting(256, "pixels")
    batch_size: int = setting(16, "images per step")
    augment: str = setting("light", "ultralytics' augmentation", choices=("light", "theirs"))
    timed: bool = setting(True, "measure speed and memory too")
    peers: list[str] = field(default_factory=lambda: [OURS, THEIRS], metadata={"help": "which of the two"})
    out: str = setting("", "folder for the runs, where finished trainings of a fold are kept; default: a temporary one")


class Ultralytics:
    """Commands of ultralytics, in an environment of its own."""

    name = THEIRS

    def __init__(self, settings: Settings, out: Path):
        """out: folder of the data set in YOLO's form, and of the runs of both."""
        self.settings, self.boxes, self.out = settings, out / "boxes", out / self.name
        self.program = install() / "bin" / "yolo"
        self.variables = {"YOLO_CONFIG_DIR": str(self.out), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}

    def train(self, fold: int, epochs: int, name: str) -> list[str]:
        augment = LIGHT if self.settings.augment == "light" else {}
        changes = {"model": f"{THEIRS}.yaml", "data": self.boxes / f"fold{fold}.yaml", "epochs": epochs}
        changes |= {"imgsz": self.settings.image_size, "batch": self.settings.batch_size, "pretrained": False}
        changes |= {"cache": "ram", "val": False, "plots": False, "amp": False, **self.place(name), **augment}
        return self.command("train", changes)

    def predict(self, name: str, images: Path, label: str) -> list[str]:
        """images: a folder, or a list in a text file."""
        changes = {"model": self.out / name / "weights" / "last.pt", "source": images, **BOXES}
        changes |= {"imgsz": self.settings.image_size, "batch": self.settings.batch_size, "save": False}
        return self.command("predict", changes | {"save_txt": True, "save_conf": True, **self.place(label)})

    def place(self, name: str) -> dict:
        return {"project": self.out, "name": name, "device": "cpu", "exist_ok": True}

    def command(self, mode: str, changes: dict) -> list[str]:
        return [str(self.program), "detect", mode, *(f"{key}={value}" for key, value in changes.items())]

    def held_out(self, fold: int, name: str, environment: dict[str, str]) -> Detections:
        """Predict the fold's images with the network of the training `name`."""
        images = self.boxes / f"fold{fold}_val.txt"
        shutil.rmtree(self.out / f"{name}-held-out", ignore_errors=True)  # it would append to the files of another call
        measure(self.predict(name, images, f"{name}-held-out"), environment, self.out / f"{name}-held-out.log")
        folder = self.out / f"{name}-held-out" / "labels"
        folder.mkdir(exist_ok=True)  # it is missing where no image has a box
        shutil.copy(self.boxes / "images.csv", folder)
        return read_predictions(folder).select([Path(line).stem for line in images.read_text().split()])


class Pneumonia:
    """Commands of this program."""

    name = OURS

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.out, self.variables = settings, out / self.name, {}

    def train(self, fold: int, epochs: int, name: str) -> list[str]:
        changes = {"experiment": OURS, "preset": "quick", "data": self.settings.data, "mapping": self.settings.mapping}
        changes |= {"image_size": self.settings.image_size, "batch_size": self.settings.batch_size, "epochs": epochs}
        changes |= {"fold": fold, "inner_val_fraction": 0, "tta": "[identity]", "out": self.out / name}
        return self.command("train", changes)

    def predict(self, name: str, images: Path, label: str) -> list[str]:
        run = next((self.out / name).rglob("done.json")).parent
        return self.command("predict", {"run": run, "images": images, "out": self.out / f"{label}.csv"})

    def command(self, name: str, changes: dict) -> list[str]:
        return [sys.executable, "-P", "-m", "pneumonia", name, *(f"{key}={value}" for key, value in changes.items())]

    def held_out(self, fold: int, name: str, environment: dict[str, str]) -> Detections:
        return read_detections(next((self.out / name).rglob("oof_detections.csv")))


Peer = Pneumonia | Ultralytics


def install() -> Path:
    """Return the folder of an environment with ultralytics, made where it does not exist."""
    folder = REPOSITORY / "cache" / "peers" / PACKAGE.replace("==", "-")
    if not (folder / "complete").exists():
        print(f"installing {PACKAGE} into {folder} (some GB)", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", PACKAGE], check=True)
        (folder / "complete").touch()
    return folder


def export(settings: Settings, data: Prepared, out: Path) -> None:
    """Write the labelled images as PNG, their boxes as YOLO text, and the folds."""
    words = [f"data={settings.data}", f"folds={data.fold_file}", "format=yolo", "images=true", f"out={out}"]
    subprocess.run([sys.executable, "-P", "-m", "pneumonia", "export", *words], check=True, stdout=sys.stderr)


# ------------------------------------------------------------------ score


def scores(settings: Settings, peers: list[Peer], data: Prepared, environment: dict[str, str]) -> None:
    """Print the held-out score of each and their paired difference."""
    truth = Truth.from_lists(data.study["patientId"], data.study["boxes"])
    groups = dict(zip(data.study["patientId"], data.study["group"]))
    of_images = {}
    for peer in peers:
        tables = []
        for fold in settings.folds:
            name = f"fold{fold}"
            variables = environment | peer.variables
            trained = peer.out / f"{name}.trained"
            if not trained.exists():
                cost = measure(peer.train(fold, settings.epochs, name), variables, peer.out / f"{name}.log")
                print(f"{peer.name} fold {fold}: {cost.wall:.0f} s", file=sys.stderr)
                trained.touch()
            tables.append(peer.held_out(fold, name, variables))
        boxes = concatenate_tables(tables)
        problem = problem_of({"": boxes}, {}, truth, groups)
        of_images[peer.name] = dict(zip(boxes.ids, image_scores(problem.truth, cross_fit_alone(problem, seed=0))))
    ids = sorted(of_images[peers[0].name])
    people = people_of(ids, groups)
    rows = {name: np.array([each[image] for image in ids]) for name, each in of_images.items()}
    print(f"{len(ids)} held-out images of {people.max() + 1} people")
    for name, row in rows.items():
        print(f"{name:12s} {interval_text(json_interval(mean_interval(row, people)))}")
    if len(rows) == 2:
        difference = difference_interval(rows[OURS], rows[THEIRS], people)
        print(f"{'difference':12s} {interval_text(json_interval(difference))}")


# ------------------------------------------------------------------ speed


def speed(peer: Peer, data: Prepared, few: Path, images: Path, environment: dict[str, str], label: str) -> None:
    """Print images per second and processor time in training and prediction, and memory."""
    trainings = [timed(peer, peer.train(0, count, f"{label}-{count}"), environment) for count in EPOCHS]
    trained = int((data.folds["fold"].astype(str).isin(["1", "2", "3", "4"])).sum()) * (EPOCHS[1] - EPOCHS[0])
    name = f"{label}-{EPOCHS[0]}"
    predictions = [
        timed(peer, peer.predict(name, folder, f"{name}-{folder.name}"), environment) for folder in (few, images)
    ]
    predicted = sum(1 for _ in images.iterdir()) - FEW
    cells = [*rates(*trainings, trained), *rates(*predictions, predicted), f"{trainings[1].memory / 2**20:10.0f}"]
    print(f"{peer.name:12s} {label:10s} " + " ".join(cells))


def timed(peer: Peer, command: list[str], environment: dict[str, str]) -> Cost:
    return measure(command, environment | peer.variables, peer.out / "timed.log")


def rates(short: Cost, long: Cost, images: int) -> tuple[str, str]:
    """Return images per second, and milliseconds of processor time an image."""
    return (
        f"{images / (long.wall - short.wall):10.1f}",
        f"{1000 * (long.processor - short.processor) / images:10.0f}",
    )


def main(settings: Settings) -> None:
    training = Training(data=settings.data, mapping=settings.mapping)
    variables = environments()
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        out = config.user_path(settings.out) if settings.out else Path(scratch)
        data = prepare(training, resolve(training), [settings.image_size])
        if not (out / "boxes").exists():
            export(settings, data, out / "boxes")
        peers: list[Peer] = [{OURS: Pneumonia, THEIRS: Ultralytics}[name](settings, out) for name in settings.peers]
        for peer in peers:
            peer.out.mkdir(parents=True, exist_ok=True)
        if settings.timed:
            few, images = out / "few", out / "boxes" / "images"
            shutil.rmtree(few, ignore_errors=True)
            few.mkdir()
            for path in sorted(images.iterdir())[:FEW]:
                os.link(path, few / path.name)
            names = ("", "", "images/s", "ms", "images/s", "ms", "most MiB")
            print("{:12s} {:10s} {:>10s} {:>10s} {:>10s} {:>10s} {:>10s}".format(*names))
            for label in ("system", "jemalloc"):
                for peer in peers:
                    speed(peer, data, few, images, variables[label], label)
        if settings.folds:
            scores(settings, peers, data, variables["jemalloc"])


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
