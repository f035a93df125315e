"""What several commands are tested on."""

import pytest

from pneumonia.boxes.predictions import write_classes, write_detections


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
