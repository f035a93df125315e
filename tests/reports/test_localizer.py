"""A finished localizer's evaluation: the main job's score, FROC, tables that add up, folds pooled, and refusals."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from pneumonia import schema
from pneumonia.boxes.predictions import Detections, read_detections, write_detections
from pneumonia.commands import evaluate
from pneumonia.ensemble.nested import fit_nested, problem_of
from pneumonia.ensemble.tune import Search
from pneumonia.metrics import froc
from pneumonia.metrics.iou_map import Truth
from pneumonia.system.errors import BadInput


def make_run(experiment, fold=0, images=80, kind="localizer", positive=0.4, images_of_a_person=2, **environment):
    """A run as training leaves it: it finds most boxes about where they are, and others."""
    rng = np.random.default_rng(fold)
    folder = experiment / f"fold{fold}"
    folder.mkdir(parents=True)
    ids, rows, boxes, scores = [f"{fold}-{row:03d}" for row in range(images)], [], [], []
    for row in range(images):
        true = rng.uniform(100, 400, (rng.integers(1, 3) if rng.random() < positive else 0, 4)).round(1)
        kept = true[rng.random(len(true)) < 0.8]
        found = np.concatenate([kept * rng.uniform(0.85, 1.15, kept.shape), rng.uniform(100, 400, (2, 4))])
        boxes.append(found)
        scores.append(np.concatenate([rng.uniform(0.3, 1.0, len(kept)), rng.uniform(0.0, 0.7, 2)]).round(2))
        rows.append({
            "patientId": ids[row], "target": int(len(true) > 0), "class": "opacity" if len(true) else "normal",
            "group": f"p{fold}-{row // images_of_a_person}", "sex": rng.choice(["F", "M", ""]),
            "age": rng.choice([15.0, 35, 55, 75, 150]), "view": rng.choice(["AP", "PA"]), "fold": fold,
            "boxes": " ".join(f"{number:g}" for number in true.ravel()),
        })  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "held_out.csv", index=False)
    order = rng.permutation(images)  # the prediction table need not have the same order
    write_detections(
        folder / "oof_detections.csv",
        Detections.from_lists(
            [ids[row] for row in order], [boxes[row] for row in order], [scores[row] for row in order]
        ),
    )
    (folder / "config.yaml").write_text("image_size: 64\n")
    (folder / "environment.json").write_text(json.dumps({"processor": "a", "backend": "b", **environment}))
    (folder / "done.json").write_text(json.dumps({"kind": kind, "seconds": 1.0}))
    return folder


def test_a_page_has_the_learning_curves_of_its_runs(tmp_path):
    folder = make_run(tmp_path / "data" / "model", images=20)
    lines = [{"epoch": epoch, "loss": 1 / epoch, "inner_loss": 1.1} for epoch in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluated(folder, draws=10)
    assert "Learning curves, fold 0" in (folder / "evaluation.html").read_text()


def test_out_takes_the_files(tmp_path):
    folder, out = make_run(tmp_path / "data" / "model", images=20), tmp_path / "evaluation"
    result = evaluate.evaluate(schema.Evaluate(run=str(folder), draws=10, out=str(out)))
    assert result["page"] == out / "evaluation.html" and result["page"].is_file()
    assert (out / "evaluation.json").is_file() and not list(folder.glob("evaluation.*"))


def evaluated(folder, draws=100):
    return evaluate.evaluate(schema.Evaluate(run=str(folder), draws=draws))


def truth_of(*folders):
    table = pd.concat([pd.read_csv(folder / "held_out.csv", dtype={"boxes": str}) for folder in folders])
    boxes = [np.array(text.split(), dtype=float).reshape(-1, 4) for text in table["boxes"].fillna("")]
    return Truth.from_lists(table["patientId"], boxes), table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("data") / "model", data="demo")
    return folder, evaluated(folder)


def test_the_score_is_the_one_that_the_main_job_gives_a_member_alone(run):
    folder, result = run
    truth, table = truth_of(folder)
    members = {"alone": read_detections(folder / "oof_detections.csv")}
    groups = dict(zip(table["patientId"], table["group"]))
    fitted = fit_nested(problem_of(members, {}, truth, groups), search=Search(trials=1), draws=100)
    score = result["held_out_score"]
    assert (score["value"], score["low"], score["high"]) == pytest.approx(
        (fitted.members["alone"].value, fitted.members["alone"].low, fitted.members["alone"].high)
    )
    assert 0.1 < score["low"] < score["value"] < score["high"] < 1
    assert result["tuned_on_itself"]["score"] >= score["value"]


def test_froc_points_are_those_of_the_tables(run):
    folder, result = run
    truth, _ = truth_of(folder)
    curve = froc.curve(froc.match(truth, read_detections(folder / "oof_detections.csv")))
    assert [point["rate"] for point in result["froc"]] == list(froc.RATES)
    assert result["coco"]["all"]["images"] == result["images"] and 0 < result["coco"]["positive"]["ap50"] <= 1
    for point in result["froc"]:
        place = curve.at(point["rate"])
        assert point["sensitivity"]["value"] == pytest.approx(curve.sensitivity[place])
        assert point["false_positives"] == pytest.approx(curve.false_positives[place])
        assert point["sensitivity"]["low"] <= point["sensitivity"]["value"] <= point["sensitivity"]["high"]


def test_groups_and_sizes_add_up_to_the_whole(run):
    _, result = run
    middle = froc.RATES.index(1 / 2)
    whole = result["froc"][middle]
    parts = {"size": result["sizes"]}
    for row in result["subgroups"]:
        parts.setdefault(row["of"], []).append(row)
    assert set(parts) == {"size", "sex", "age", "view"}
    for rows in parts.values():
        assert sum(row["boxes"] for row in rows) == result["boxes"]
        found = sum(row["boxes"] * (row["sensitivity"][middle]["value"] or 0) for row in rows)
        assert found / result["boxes"] == pytest.approx(whole["sensitivity"]["value"])
        if rows is not parts["size"]:
            assert sum(row["images"] for row in rows) == result["images"]
            false = sum(row["images"] * row["false_positives"][middle]["value"] for row in rows)
            assert false / result["images"] == pytest.approx(whole["false_positives"])
    assert {row["is"] for row in parts["sex"]} == {"F", "M", "unknown"}
    assert {row["is"] for row in parts["age"]} >= {"up to 20", "over 60", "unknown"}


def test_one_group_s_figures_by_hand(run):
    folder, result = run
    truth, table = truth_of(folder)
    own = table.loc[table["view"] == "AP", "patientId"].tolist()
    threshold = result["froc"][2]["threshold"]
    detections = read_detections(folder / "oof_detections.csv").select(own)
    curve = froc.curve(froc.match(truth, detections.keep(detections.scores >= threshold)))
    row = next(row for row in result["subgroups"] if row["is"] == "AP")
    assert row["sensitivity"][2]["value"] == pytest.approx(curve.sensitivity[-1])
    assert row["false_positives"][2]["value"] == pytest.approx(curve.false_positives[-1])
    assert row["images"] == len(own)


def test_what_is_written_is_what_is_returned_and_opens_offline(run):
    folder, result = run
    assert json.loads((folder / "evaluation.json").read_text()) == {k: v for k, v in result.items() if k != "page"}
    text = (folder / "evaluation.html").read_text()
    assert result["page"] == folder / "evaluation.html"
    assert f"{result['held_out_score']['value']:.3f}" in text and "view AP" in text
    assert "Synthetic demo" in text and "Not a medical device" in text
    assert "http" not in text and "<script" not in text
    assert text.count("<img") == 1 and "data:image/png" in text


def test_folds_are_pooled(tmp_path):
    experiment = tmp_path / "data" / "model"
    folders = [make_run(experiment, fold, images=20 + fold) for fold in range(5)]
    (folders[4] / "done.json").unlink()  # still in training
    result = evaluated(experiment)
    assert result["folds"] == [0, 1, 2, 3] and result["images"] == 20 + 21 + 22 + 23
    assert set(result["score_of_folds"]) == {"0", "1", "2", "3"}
    truth, _ = truth_of(*folders[:4])
    assert result["boxes"] == len(truth.boxes)
    assert (experiment / "evaluation.json").is_file()
    assert "By fold" in (experiment / "evaluation.html").read_text()


def test_a_demo_is_named_and_real_data_is_not_called_one(tmp_path):
    folder = make_run(tmp_path / "data" / "model", images=20, data="rsna")
    evaluated(folder, draws=10)
    assert "synthetic" not in (folder / "evaluation.html").read_text()


@pytest.mark.parametrize(
    ("settings", "unknown"),
    [
        ({"positive": 0.0}, ["mean_sensitivity"]),
        ({"images_of_a_person": 1000}, []),
    ],
    ids=["nothing to find", "one person"],
)
def test_what_cannot_be_measured_is_null(tmp_path, settings, unknown):
    folder = make_run(tmp_path / "data" / "model", images=12, **settings)
    result = evaluated(folder, draws=10)
    written = json.loads((folder / "evaluation.json").read_text())
    assert all(written[name] is None for name in unknown)
    assert settings.get("positive") == 0.0 or written["held_out_score"]["value"] is None
    assert not any(isinstance(value, float) and math.isnan(value) for value in result.values())
    assert "not measurable" in (folder / "evaluation.html").read_text()


def broken(folder, name):
    if name == "not finished":
        (folder / "done.json").unlink()
    elif name == "without held_out.csv":
        (folder / "held_out.csv").unlink()
    elif name == "boxes that are none":
        table = pd.read_csv(folder / "held_out.csv", dtype=str)
        table.loc[3, "boxes"] = "10 20 -5 40"
        table.to_csv(folder / "held_out.csv", index=False)
    elif name == "other images":
        table = pd.read_csv(folder / "held_out.csv", dtype=str)
        table[:-1].to_csv(folder / "held_out.csv", index=False)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("not finished", "no finished run"),
        ("without held_out.csv", "has no held_out.csv"),
        ("boxes that are none", "10 20 -5 40"),
        ("other images", "0-011"),
    ],
)
def test_runs_that_cannot_be_evaluated_are_refused(tmp_path, name, said):
    folder = make_run(tmp_path / "data" / "model", images=12)
    broken(folder, name)
    with pytest.raises(BadInput, match=said):
        evaluated(folder)
    assert not (folder / "evaluation.json").exists()


def test_runs_that_hold_the_same_images_out_are_not_pooled(tmp_path):
    experiment = tmp_path / "data" / "model"
    folder = make_run(experiment, images=12)
    other = make_run(experiment, 1, images=12)
    for name in ("held_out.csv", "oof_detections.csv"):
        (other / name).write_text((folder / name).read_text())
    with pytest.raises(BadInput, match="held out by several runs"):
        evaluated(experiment)
