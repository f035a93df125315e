"""What several commands are tested on."""

import json

import pytest
from command_line import run

from pneumonia.boxes.predictions import write_classes, write_detections


@pytest.fixture(scope="session")
def demo_job(tmp_path_factory):
    """The main job on the smallest demo: its process, and its JSON."""
    out = tmp_path_factory.mktemp("submission") / "with space"
    done = run("fold=0", "data=demo", "preset=smoke", f"out={out}", "json=true")
    assert done.returncode == 0, done.stderr
    return done, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def prediction_files(tmp_path, competition):
    """a.csv, b.csv, c.csv and gate.csv, with labels.csv and groups.csv, of a small competition."""
    truth, members, classifiers, groups = competition(80)
    for name, table in members.items():
        write_detections(tmp_path / f"{name}.csv", table)
    write_classes(tmp_path / "gate.csv", classifiers["gate"])
    rows = ["patientId,x,y,width,height,Target"]
    for row, name in enumerate(truth.ids):
        boxes = truth.boxes[truth.offsets[row] : truth.offsets[row + 1]].tolist()
        rows += [f"{name},{','.join(map(repr, box))},1" for box in boxes] or [f"{name},,,,,0"]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    people = [f"{name},{person}" for name, person in groups.items()]
    (tmp_path / "groups.csv").write_text("patientId,person\n" + "\n".join(people) + "\n")
    return tmp_path
