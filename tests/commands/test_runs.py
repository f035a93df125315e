"""`runs` as a person calls it."""

import json

import numpy as np
import pandas as pd
import pytest

from pneumonia import cli, config
from pneumonia.boxes.predictions import ClassProbabilities, Detections, write_classes, write_detections
from pneumonia.runs.history import write_history
from pneumonia.runs.progress_file import Progress, write_progress
from pneumonia.runs.run import Run


@pytest.fixture
def root(tmp_path):
    """A finished classifier and localizer, a run that is going and one that is not started."""
    images, generator = 40, np.random.default_rng(0)
    ids, target = [f"i{row}" for row in range(images)], np.arange(images) % 2
    boxes = [np.array([[100.0, 100, 200, 200]] * positive).reshape(-1, 4) for positive in target]
    for name, experiment in (
        ("a", "mobilenetv2"),
        ("b", "mobilenet_unet"),
        ("c", "mobilenet_unet"),
        ("d", "yolov8_xs"),
    ):
        run = Run(tmp_path / "data" / name / "fold0")
        run.write_settings(config.read_experiment(experiment, "smoke"), {"fold": 0})
        if name in "ab":
            table = pd.DataFrame({"patientId": ids, "target": target, "class": "x", "group": np.arange(images) // 2})
            table = table.assign(
                sex="F", age=30, view="AP", fold=0, boxes=[" ".join(map(str, own.ravel())) for own in boxes]
            )
            table.to_csv(run.folder / "held_out.csv", index=False)
            run.weights.write_bytes(b"weights")
            write_history(run.folder, [{"epoch": 1}])
            kind = "classifier" if name == "a" else "localizer"
            if name == "a":
                write_classes(
                    run.table("oof", kind), ClassProbabilities(tuple(ids), 0.4 * target + generator.random(images) / 2)
                )
            else:
                write_detections(
                    run.table("oof", kind), Detections.from_lists(ids, boxes, [[0.9] * own for own in target])
                )
            run.finish(kind, 2.0, {"oof": run.table("oof", kind)}, {})
        if name == "c":
            write_progress(run.folder, Progress(1, 1, 10, 40, 0.5, 12.25, 75.4))
    return tmp_path


def listed(capsys, root):
    assert cli.main(["runs", f"runs={root}", "json=true"]) == 0
    *lines, answer = capsys.readouterr().out.splitlines()
    return lines, json.loads(answer)["runs"]


def test_every_run_with_its_state_and_score(root, capsys):
    lines, rows = listed(capsys, root)
    assert [row["state"] for row in rows] == ["finished", "finished", "going", "not started"]
    assert 0.9 < rows[0]["score"] < 1 and rows[1]["score"] == 1 and rows[2]["score"] is None
    assert rows[0]["run"] == str(root / "data" / "a" / "fold0") and rows[0]["seconds"] == 2
    assert f"AUC {rows[0]['score']:.4f}" in lines[0] and "IoU-mAP 1.0000" in lines[1]
    assert "epoch 1/1 (25%), loss 0.5000, 12.2 images/s, 1 min 15 s left" in lines[2]
    assert lines[3].endswith("data/d/fold0")


def test_the_score_is_kept_with_its_table(root, capsys):
    first = listed(capsys, root)[1]
    file = root / "data" / "b" / "fold0" / "score.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps(known | {"score": 0.25}))
    assert listed(capsys, root)[1][1]["score"] == 0.25  # not measured again
    file.write_text(json.dumps(known | {"score": 0.25, "table_sha256": "of another table"}))
    assert listed(capsys, root)[1] == first


def test_no_runs(tmp_path, capsys):
    lines, rows = listed(capsys, tmp_path)
    assert rows == [] and "no run yet" in lines[0]
    assert cli.main(["runs", f"runs={tmp_path / 'none'}"]) == 2
    assert "there is no such folder" in capsys.readouterr().err
