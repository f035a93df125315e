"""A finished classifier's evaluation: figures against scikit-learn, folds pooled, the page and the report's table."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from pneumonia import config, schema
from pneumonia.commands import evaluate
from pneumonia.commands import results as results_command
from pneumonia.metrics.calibration import calibration_error
from pneumonia.metrics.classification import average_precision_interval, best_threshold, cross_fit_thresholds
from pneumonia.reports.held_out import read_held_out
from pneumonia.system.errors import BadInput


def make_run(folder, fold, images=60, seed=0, kind="classifier", model=None, **settings):
    """A run as training leaves it: two images per person, probabilities that know something."""
    rng = np.random.default_rng([seed, fold if isinstance(fold, int) else 99])
    folder = folder / (f"fold{fold}" if isinstance(fold, int) else f"fold-{fold}")
    folder.mkdir(parents=True)
    ids = [f"{fold}-{seed}-{row}" for row in range(images)]
    target = (rng.random(images) < 0.4).astype(int)
    table = pd.DataFrame({
        "patientId": ids, "target": target, "class": np.where(target, "opacity", "normal"),
        "group": [f"p{fold}-{row // 2}" for row in range(images)], "sex": rng.choice(["F", "M"], images),
        "age": rng.integers(1, 90, images), "view": rng.choice(["AP", "PA"], images), "fold": fold,
        "boxes": np.where(target, "100 100 200 300", ""),
    })  # fmt: skip
    table.to_csv(folder / "held_out.csv", index=False)
    opacity = np.clip(0.3 * target + rng.random(images) * 0.6, 0, 1)
    if kind == "classifier":
        pd.DataFrame({"patientId": ids, "opacity": opacity}).to_csv(folder / "oof_classes.csv", index=False)
    else:
        texts = np.where(opacity > 0.5, "0.9 100 100 200 300", "")
        frame = pd.DataFrame({"patientId": ids, "PredictionString": texts})
        frame.to_csv(folder / "oof_detections.csv", index=False)
    settings_of_model = config.as_tree(schema.model_settings(**({"name": "densenet121"} | (model or {}))))
    tree = {"model": settings_of_model, "image_size": 64, "epochs": 2, "seed": seed, **settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    (folder / "environment.json").write_text(json.dumps({"processor": "a", "backend": "b", "command": []}))
    (folder / "done.json").write_text(json.dumps({"kind": kind, "seconds": 12.0}))
    lines = [{"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.5, "inner_loss": 1.1} for epoch in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder, target, opacity


def evaluated(folder):
    return evaluate.evaluate(schema.Evaluate(run=str(folder), draws=200))


def test_figures_are_scikit_learns(tmp_path):
    folder, target, opacity = make_run(tmp_path / "data" / "model", 0)
    found = evaluated(folder)
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(target, opacity))
    assert found["average_precision"]["value"] == pytest.approx(average_precision_score(target, opacity))
    assert found["brier"]["value"] == pytest.approx(brier_score_loss(target, opacity))
    half = found["at_half"]
    assert half["classes"]["pneumonia"]["f1"] == pytest.approx(f1_score(target, opacity >= 0.5))
    assert np.sum(half["confusion"]) == found["images"] == 60 and found["people"] == 30
    assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
    for what in ("sex", "age", "view"):
        assert sum(row["images"] for row in found["subgroups"] if row["of"] == what) == 60
    page = (folder / "evaluation.html").read_text()
    assert "Calibration" in page and page.count("data:image/png") >= 4 and 'src="http' not in page
    assert json.loads((folder / "evaluation.json").read_text())["auc"] == found["auc"]


def test_an_experiment_s_folder_pools_its_folds(tmp_path):
    parts = [make_run(tmp_path / "data" / "model", fold) for fold in range(3)]
    found = evaluated(tmp_path / "data" / "model")
    labels, scores = np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])
    assert found["images"] == 180 and found["folds"] == [0, 1, 2]
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(labels, scores))
    assert set(found["auc_of_folds"]) == {"0", "1", "2"}
    assert set(found["at_cross_fitted_threshold"]["thresholds"]) == {"0", "1", "2"}


def test_the_threshold_of_a_part_is_fitted_on_the_others():
    """The second part would choose 0.9 for itself; it is called at what is best on the first."""
    labels = np.array([0, 1, 1, 0, 0, 1])
    scores = np.array([0.1, 0.2, 0.3, 0.5, 0.6, 0.9])
    called, thresholds = cross_fit_thresholds(labels, scores, np.array([0, 0, 0, 1, 1, 1]))
    assert thresholds == {0: 0.9, 1: 0.2}
    assert called.tolist() == [False, False, False, True, True, True]
    assert best_threshold(np.zeros(3), np.arange(3)) == 0.5


def test_seeds_beside_each_other_are_compared(tmp_path):
    for seed in range(3):
        make_run(tmp_path / "data" / f"model-{seed}", 0, seed=seed)
    make_run(tmp_path / "data" / "other", 0, seed=7, epochs=3)
    found = evaluated(tmp_path / "data" / "model-0")
    assert set(found["auc_of_seeds"]) == {"0", "1", "2"}


def test_the_interval_of_average_precision_is_a_bootstrap_over_people():
    rng = np.random.default_rng(0)
    labels, people = rng.integers(0, 2, 40), np.repeat(np.arange(20), 2)
    scores = np.round(labels * 0.3 + rng.random(40), 1)  # with ties
    found = average_precision_interval(labels, scores, people, draws=400, seed=1)
    drawn = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(people == person) for person in rng.integers(0, 20, 20)])
        drawn.append(average_precision_score(labels[rows], scores[rows]))
    assert found.value == pytest.approx(average_precision_score(labels, scores))
    assert [found.low, found.high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.05)


def test_calibration_error_of_known_probabilities():
    labels = np.tile([0, 0, 0, 1], 50)
    assert calibration_error(labels, np.full(200, 0.25)) == pytest.approx(0.0, abs=0.02)
    assert calibration_error(labels, np.full(200, 0.75)) == pytest.approx(0.5, abs=0.02)
    assert np.isnan(calibration_error(np.empty(0), np.empty(0)))


def test_one_class_alone_is_said_to_be_not_measurable(tmp_path, capsys):
    folder, *_ = make_run(tmp_path / "data" / "model", 0)
    table = pd.read_csv(folder / "held_out.csv").assign(target=0)
    table.to_csv(folder / "held_out.csv", index=False)
    evaluated(folder)
    assert "not measurable" in capsys.readouterr().out
    assert json.loads((folder / "evaluation.json").read_text())["auc"]["value"] is None


def test_what_is_no_finished_run_is_refused(tmp_path):
    for text in ("", str(tmp_path)):
        with pytest.raises(BadInput, match="no finished run"):
            read_held_out(text)
    folder, *_ = make_run(tmp_path / "data" / "model", 0)
    (folder / "held_out.csv").unlink()
    with pytest.raises(BadInput, match=r"held_out\.csv"):
        read_held_out(str(folder))


def test_the_report_s_table_shows_ours_and_marks_what_is_missing(tmp_path, capsys):
    demo, densenet = tmp_path / "demo-1" / "report", {"name": "densenet121"}
    _, target, opacity = make_run(demo / "densenet121-quick", 0, model=densenet)
    make_run(tmp_path / "demo-2" / "report" / "densenet121-quick", "report", seed=3, model=densenet)
    unet = {"name": "mobilenet_unet", "mask_fit": False}
    make_run(demo / "mobilenet_unet-quick", 0, kind="localizer", model=unet)
    make_run(demo / "cnn_of_another_name", 0, model={"name": "cnn"})
    rows = {row["experiment"]: row for row in results_command.results(schema.Results(runs=str(tmp_path)))["rows"]}
    assert len(rows) == 8
    ours = rows["report/densenet121"]["ours"]
    assert [row["dataset"] for row in ours] == ["demo-1", "demo-2"]
    assert ours[0]["auc"]["value"] == pytest.approx(roc_auc_score(target, opacity))
    assert "leaks" in ours[1]["split"] and ours[0]["weights"] == "none"
    assert 0 < rows["report/mobilenet_unet"]["ours"][0]["iou_map"]["value"] < 1
    out = capsys.readouterr().out
    assert out.count("not measured") == 6 and "not reachable on this task" in out
    assert "val loss .338 acc .843 AUC .890; test AUC .894" in out and "val loss .325 acc .848 AUC .898;" in out
    assert max(map(len, out.splitlines())) <= 140


def test_another_network_is_not_the_report_s_and_what_differs_is_said(tmp_path, capsys):
    report = tmp_path / "demo" / "report"
    make_run(report / "fcnn-smoke-1234", 0, model={"name": "mobilenetv2"})
    make_run(report / "mobilenetv2_transfer-quick", 0, model={"name": "mobilenetv2", "frozen_epochs": 0, "alpha": 0.35})
    as_published = {"name": "mobilenetv2", "frozen_epochs": -1, "weights": "imagenet"}
    make_run(report / "mobilenetv2_transfer", 0, model=as_published)
    rows = {
        row["experiment"]: row["ours"] for row in results_command.results(schema.Results(runs=str(tmp_path)))["rows"]
    }
    assert rows["report/fcnn"] == []
    found = [row["unlike_experiment"] for row in rows["report/mobilenetv2_transfer"]]
    assert found == [{}, {"alpha": 0.35, "frozen_epochs": 0}]
    out = capsys.readouterr().out
    assert out.count("unlike report/mobilenetv2_transfer: alpha=0.35, not frozen\n") == out.count("unlike") == 1


def test_published_parameter_counts_are_those_of_the_experiments():
    """The table's counts are what the models have at the report's size."""
    from pneumonia.models.registry import family
    from pneumonia.reports.report_figures import REPORT

    for published in REPORT:
        experiment = config.read_experiment(published.experiment, "full")
        of_name = family(experiment.model, experiment.image_size, pretrained=False)
        network = of_name.build()
        if experiment.model.frozen_epochs == -1:
            of_name.freeze(network, True)
        trainable = sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
        assert (network.count_params(), trainable) == published.parameters, published.experiment
