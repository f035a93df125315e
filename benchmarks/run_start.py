"""Processor seconds of the start of one run, from the start of its process until training begins.

    PYTHONPATH=src nice .venv/bin/python benchmarks/run_start.py [images=26684] [test_images=3000]
                                                [experiment=mobilenetv2] [turns=3]

It writes tables of a synthetic competition, an image cache without pixels, and one prepared run into a temporary
folder, with the program's own functions. A child then runs `train_run run=FOLDER`, as a job does, and is killed when it
prints its number of training images, just before it builds the network; another child only starts Python and imports
Keras. The difference of their processor times is the run's own start: settings, prepared tables, index of the cache,
fold, boxes, environment.json. The time to open a finished cache is measured too. The fastest of the turns counts, as
other work on the machine only adds time. Linux only (/proc).

Measured on a busy 2-core AMD EPYC, with the defaults: a run's own start 1.17 s, in addition to 5.0 s for Python and
Keras (with 300 images 1.04 s: most of it is imports); opening the cache of 29,684 images 0.070 s. Measured by hand in
the same way, with the competition's tables and images: a run's start 1.0 to 1.2 s, against 9.5 s when its process still
checked the tables, read headers and compared every square of the cache with its checksum; `train` with a finished
cache, which prepares and trains in one process, 7.3 s, against 9.5 s; opening the cache 0.087 to 0.100 s.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia import config, schema
from pneumonia.commands.folds_and_runs import run_of, write_run
from pneumonia.data import cache as layout
from pneumonia.data.cache import Cache, cached_size
from pneumonia.data.competition import open_competition
from pneumonia.data.folds import fold_table
from pneumonia.data.formats.kaggle import CLASS_INFO, LABELS, MAPPINGS, SAMPLE
from pneumonia.data.labels import CLASSES
from pneumonia.data.prepared import Prepared, write_study
from pneumonia.data.study_table import study_table
from pneumonia.data.tables import CLASS_COLUMNS, LABEL_COLUMNS
from pneumonia.jobs.job import job_environment, train_command
from pneumonia.runs.run import Run
from pneumonia.schema import setting

IMAGES_PER_PERSON = 2.33  # mean of the competition
SHARES = (0.332, 0.443, 0.225)  # of the competition's classes, in the order of CLASSES
READY = "training images"  # in the line that `train_run` prints before it builds the network
ONLY_KERAS = (
    "from pneumonia.system.switches import set_switches; set_switches();"
    "from pneumonia.system.keras_import import import_keras_quietly; import_keras_quietly();"
    f"import sys, time; print('{READY}', file=sys.stderr, flush=True); time.sleep(60)"
)


@dataclass
class Settings:
    images: int = setting(26_684, "training images", low=100)
    test_images: int = setting(3_000, "test images", low=1)
    experiment: str = setting("mobilenetv2", "experiments/NAME.yaml, at preset full")
    turns: int = setting(3, "of each measurement", low=1)


# ------------------------------------------------------------------ a competition without images, and one run


def prepare_run(settings: Settings, folder: Path) -> Run:
    """Write everything that the process of a run of fold 0 reads into `folder`, and return the run."""
    experiment = config.read_experiment(settings.experiment, "full")
    rng = np.random.default_rng(0)
    ids = [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(settings.images + settings.test_images)]
    write_tables(folder, ids[: settings.images], ids[settings.images :], rng)
    size = cached_size(experiment.image_size)
    cache = empty_cache(folder / "cache", size, ids, settings.images, rng)
    competition = open_competition(folder)
    study = study_table(competition, header=cache.index)
    fold_file, table = fold_table(competition, study, out=folder / "folds.csv")
    study_file = write_study(study, folder)
    name, key, mapping = competition.name, competition.content_key, competition.mapping
    data = Prepared(name, key, mapping, {size: cache}, study, study_file, table, fold_file)
    run = run_of(data, settings.experiment, "full", experiment, 0, str(folder / "runs"))
    write_run(run, experiment, data, settings.experiment, schema.Job(data=str(folder)))
    return run


def write_tables(folder: Path, train: Sequence[str], test: Sequence[str], rng: np.random.Generator) -> None:
    """Write the competition's four tables: one or two boxes in each positive image, none in the others."""
    class_indices = rng.choice(len(SHARES), len(train), p=SHARES)
    labels, classes = [], []
    for image, index in zip(train, class_indices):
        boxes = rng.uniform(100, 400, (rng.integers(1, 3), 4)).round(1) if index == CLASSES.positive_index else []
        rows = [(image, *box, 1) for box in boxes] or [(image, "", "", "", "", 0)]
        labels += rows
        classes += [(image, CLASSES.display_names[index])] * len(rows)
    people = rng.integers(0, len(train) / IMAGES_PER_PERSON, len(train))
    persons = [*people, *range(len(train), len(train) + len(test))]
    tables = {
        LABELS: (LABEL_COLUMNS, labels),
        CLASS_INFO: (CLASS_COLUMNS, classes),
        SAMPLE: (["patientId", "PredictionString"], [(image, "0.5 0 0 100 100") for image in test]),
        MAPPINGS[0]: (["patientId", "nih_patient"], list(zip([*train, *test], persons))),
    }
    for name, (columns, rows) in tables.items():
        pd.DataFrame(rows, columns=columns).to_csv(folder / name, index=False)


def empty_cache(folder: Path, size: int, ids: Sequence[str], train: int, rng: np.random.Generator) -> Cache:
    """Write and open a finished cache whose squares are a sparse file of zeros: opening it reads no squares."""
    folder.mkdir()
    with open(layout.pixel_file(folder, size), "wb") as file:
        file.truncate(len(ids) * size**2)
    common = {"rows": 1024, "columns": 1024, "modality": "CR", "spacing": 0.143, "bytes": 130_000, "pixels_crc32": 0}
    records = {
        row: common
        | {"patientId": image, "split": "train" if row < train else "test", "sha256": rng.bytes(32).hex()}
        | {"sex": "MF"[row % 2], "age": float(row % 90), "view": ("AP", "PA")[row % 3 == 0], "mtime_ns": 10**18 + row}
        for row, image in enumerate(ids)
    }
    layout.finish(folder, size, records)
    return Cache(folder)


# ------------------------------------------------------------------ measuring


def seconds_until_ready(command: Sequence[str]) -> float:
    """Return the processor seconds of a child, with its own children, until it prints READY; then kill it.

    Raises:
        SystemExit: it ended before; its output is in the message.
    """
    lines = []
    with subprocess.Popen(command, env=job_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as child:  # fmt: skip
        for line in child.stderr:
            lines.append(line)
            if READY in line:
                seconds = processor_seconds(child.pid)
                child.kill()
                return seconds
    raise SystemExit(f"{' '.join(command)}\n{''.join(lines)}")


def processor_seconds(pid: int) -> float:
    """Return user and system time of a process and of its children that have ended: proc(5), stat, fields 14 to 17."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def seconds_to_open(cache: Path) -> float:
    started = time.process_time()
    Cache(cache)
    return time.process_time() - started


def main(settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = prepare_run(settings, Path(folder))
        turns = range(settings.turns)
        until_ready = min(seconds_until_ready(train_command(run.folder)) for _ in turns)
        keras = min(seconds_until_ready((sys.executable, "-P", "-c", ONLY_KERAS)) for _ in turns)
        opening = min(seconds_to_open(Path(folder) / "cache") for _ in turns)
    print(f"{settings.images} + {settings.test_images} images, processor seconds:")
    print(f"  a run's start {until_ready:.1f}; of it Python and Keras {keras:.1f}, its own {until_ready - keras:.2f}")
    print(f"  opening the finished cache {opening:.3f}")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
