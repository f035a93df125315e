"""The main job as a new user runs it: every stage for real, on the smallest demo."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import yaml
from command_line import REPOSITORY, run

from pneumonia import schema
from pneumonia.boxes.predictions import read_detections
from pneumonia.commands.main_job import print_start
from pneumonia.metrics.iou_map import mean_iou_map
from pneumonia.reports.job_view import read_job_view
from pneumonia.system.files import sha256

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("main job")]


@pytest.fixture(scope="module")
def job(demo_job):
    return demo_job


def test_the_json_holds_what_it_promises(job):
    _, result = job
    promised = {
        "dataset", "submission", "report", "held_out_score", "held_out_low", "held_out_high", "members", "seconds",
        "test_score",
    }  # fmt: skip
    assert promised <= set(result)
    assert {member["kind"] for member in result["members"].values()} == {"classifier", "localizer"}
    assert 0 <= result["held_out_score"] <= 1


def test_the_submission_is_valid_and_lists_the_sample(job):
    _, result = job
    with open(result["submission"], newline="") as file:
        ids = [row["patientId"] for row in csv.DictReader(file)]
    assert len(ids) == 20
    done = run("validate", f"submission={result['submission']}", "json=true")
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["valid"]


def test_the_report_opens_offline(job):
    _, result = job
    page = Path(result["report"]).read_text()
    assert "Held-out score" in page and "demo" in page
    assert page.count("data:image/jpeg;base64,") >= 8 and "data:image/png;base64," in page
    assert 'src="http' not in page and "<script" not in page and "<link" not in page


def test_the_view_of_all_held_out_images(job):
    _, result = job
    folder = Path(result["submission"]).parent
    assert result["view"] == str(folder / "view.html")
    assert 'href="view.html"' in Path(result["report"]).read_text()
    before = Path(result["view"]).read_bytes()
    assert len(list((folder / "view_images" / "thumbs").iterdir())) == result["images_held_out"]
    view = read_job_view(folder)
    assert mean_iou_map(view.truth, view.detections, view.threshold) == result["fitted_score"]
    done = run("view", f"submission={folder}", "json=true")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["page"] == result["view"]
    assert Path(result["view"]).read_bytes() == before


def test_the_model_card_says_what_the_result_and_the_files_are(job):
    _, result = job
    text = Path(result["model_card"]).read_text()
    assert 'href="model_card.md"' in Path(result["report"]).read_text()
    for name in ("submission", "recipe"):
        assert f"| {Path(result[name]).name} | `{sha256(Path(result[name]))}` |" in text
    for path in (path for paths in result["runs"].values() for path in paths):
        assert f"`{sha256(REPOSITORY / path / 'weights.safetensors')}`" in text
    assert {group["of"] for group in result["subgroups"]} == {"sex", "age", "view"}
    for column in ("sex", "age", "view"):
        groups = [group for group in result["subgroups"] if group["of"] == column]
        assert sum(group["images"] for group in groups) == result["images_held_out"]
        for group in groups:
            assert f"| {column}: {group['is']} | {group['images']} ({group['positives']}) |" in text
    assert f"{result['held_out_score']:.3f} ({result['held_out_low']:.3f} to {result['held_out_high']:.3f})" in text
    assert "nothing (random weights)" in text and "not a medical device" in text and "Synthetic demo" in text


def test_every_run_says_what_it_depended_on(job):
    _, result = job
    assert set(result["runs"]) == set(result["members"])
    for (path,) in result["runs"].values():
        folder = REPOSITORY / path
        environment = json.loads((folder / "environment.json").read_text())
        assert environment["packages"]["keras"] and environment["folds_sha256"] and environment["data_key"]
        assert (folder / "config.yaml").exists() and (folder / "done.json").exists()
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1


def test_the_second_time_nothing_is_trained_again(job, tmp_path):
    _, result = job
    again = run("fold=0", "data=demo", "preset=smoke", f"out={tmp_path}", "json=true")
    assert "epoch" not in again.stderr
    second = json.loads(again.stdout.splitlines()[-1])
    assert Path(second["submission"]).read_bytes() == Path(result["submission"]).read_bytes()
    assert second["held_out_score"] == result["held_out_score"]


def test_the_report_is_there_while_networks_are_trained(job, tmp_path):
    """One network lacks its predictions: the page with the others' scores is there before it has them."""
    _, result = job
    (folder,) = result["runs"]["mobilenetv2"]
    (REPOSITORY / folder / "done.json").unlink()
    command = [sys.executable, "-P", "-m", "pneumonia", "fold=0", "data=demo", "preset=smoke", f"out={tmp_path}"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    page, text = tmp_path / "report.html", ""
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith(f"report: {page}"):
                text = page.read_text()
        assert process.wait() == 0
    assert "Unfinished: 2 of 3 networks are trained" in text and 'http-equiv="refresh"' in text
    assert text.count("data:image/jpeg;base64,") >= 8 and "held-out boxes of mobilenet_unet, fold 0" in text
    assert "stopped, epoch 1 of 1" in text and text.count("finished, ") == 2
    member = result["members"]["yolov8_xs"]  # the score is the one that the finished page has
    assert f"IoU-mAP {member['held_out_score']:.3f}" in text and f"{member['low']:.3f} to {member['high']:.3f}" in text
    finished = page.read_text()
    assert "Unfinished" not in finished and 'http-equiv="refresh"' not in finished and "Held-out score" in finished


def test_stderr_is_plain_lines_without_chatter(job):
    done, _ = job
    assert "\r" not in done.stderr
    for chatter in ("oneDNN", "cuda", "InitializeLog", "Segmentation Models", "UserWarning"):
        assert chatter not in done.stderr
    assert "says nothing about RSNA" in done.stderr.replace("say nothing", "says nothing")


def test_a_run_with_other_settings_has_a_path_of_its_own(job):
    _, result = job
    done = run("train", "experiment=report/fcnn", "fold=0", "data=demo", "preset=smoke", "image_size=32", "json=true")
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout.splitlines()[-1])["runs"][0])
    assert folder.parent.name.startswith("fcnn-smoke-")
    assert folder.parents[2].name == result["dataset"]


def test_an_image_alone_in_its_folder_and_in_the_main_job_has_the_same_bits(job, tmp_path):
    _, result = job
    ensemble = open_ensemble(result, tmp_path)
    images = REPOSITORY / "demo" / "smoke" / "stage_2_test_images"
    alone = sorted(images.glob("*.dcm"))[3]
    rows = {}
    for name, path in (("folder", images), ("alone", alone)):
        done = run("predict", f"run={ensemble}", f"images={path}", f"out={tmp_path / name}.csv", "json=true")
        assert done.returncode == 0, done.stderr
        rows[name] = dict(csv.reader((tmp_path / f"{name}.csv").read_text().splitlines()[1:]))
    of_one = json.loads(done.stdout.splitlines()[-1])
    assert Path(of_one["picture"]).read_bytes()[:3] == b"\xff\xd8\xff"
    assert run("validate", f"submission={of_one['submission']}").returncode == 0
    members, classifiers = {}, {}
    for name, runs in result["runs"].items():
        table = next((REPOSITORY / runs[0]).glob("test_*.csv"))
        (classifiers if table.name == "test_classes.csv" else members)[name] = str(table)
    out = tmp_path / "applied.csv"
    words = (f"recipe={ensemble / 'recipe.yaml'}", f"members={members}", f"classifiers={classifiers}", f"out={out}")
    done = run("apply", *words)
    assert done.returncode == 0, done.stderr
    of_job = dict(csv.reader(out.read_text().splitlines()[1:]))
    assert any(of_job.values())
    assert rows["folder"] == of_job
    assert rows["alone"] == {alone.stem: of_job[alone.stem]}


def open_ensemble(result, tmp_path):
    """The main job's ensemble with a recipe that lets every box pass."""
    ensemble = tmp_path / "ensemble"
    shutil.copytree(Path(result["submission"]).parent, ensemble)
    recipe = yaml.safe_load((ensemble / "recipe.yaml").read_text())
    recipe |= {"threshold": 0.0, "min_ratio_to_top": 0.0}
    recipe["gate"]["cutoff"] = 0.0
    (ensemble / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return ensemble


def test_a_dicom_of_another_size_is_predicted_in_its_own_pixels(job, tmp_path):
    """The same radiograph at twice the size, through a recipe that lets every box pass."""
    _, result = job
    ensemble = open_ensemble(result, tmp_path)
    source = sorted((REPOSITORY / "demo" / "smoke" / "stage_2_test_images").glob("*.dcm"))[0]
    dataset = pydicom.dcmread(source)
    pixels = np.kron(dataset.pixel_array, np.ones((2, 2), np.uint8))
    (tmp_path / "images").mkdir()
    for name, array in (("as_it_is", dataset.pixel_array), ("twice", pixels)):
        dataset.PixelData, (dataset.Rows, dataset.Columns) = array.tobytes(), array.shape
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.save_as(tmp_path / "images" / f"{name}.dcm")
    done = run("predict", f"run={ensemble}", f"images={tmp_path / 'images'}", "json=true")
    assert done.returncode == 0, done.stderr
    table = Path(json.loads(done.stdout.splitlines()[-1])["submission"])
    assert table.parent == ensemble / "predictions"
    found = read_detections(table)
    (once, sure), (twice, as_sure) = found.image(0), found.image(1)
    assert len(once) and np.allclose(twice, 2 * once, atol=2) and np.allclose(sure, as_sure, atol=0.02)
    assert (twice[:, 0] + twice[:, 2]).max() > 1024


@pytest.mark.parametrize("out", ["a_folder", "picture.jpg"])
def test_predict_refuses_a_name_that_it_cannot_use(job, tmp_path, out):
    _, result = job
    (tmp_path / "a_folder").mkdir()
    run_folder = Path(result["submission"]).parent
    dicom = sorted((REPOSITORY / "demo" / "smoke" / "stage_2_test_images").glob("*.dcm"))[0]
    done = run("predict", f"run={run_folder}", f"images={dicom}", f"out={tmp_path / out}")
    assert done.returncode == 2 and out in done.stderr and "predictions.csv" in done.stderr


def test_predict_refuses_an_ensemble_without_its_models(job, tmp_path):
    _, result = job
    folder = Path(result["submission"]).parent
    shutil.copy(folder / "recipe.yaml", tmp_path / "recipe.yaml")
    done = run("predict", f"run={tmp_path}", f"images={tmp_path}")
    assert done.returncode == 2 and "apply recipe=" in done.stderr
    (tmp_path / "result.json").write_text(json.dumps({"runs": {"yolov8_xs": ["runs/gone/yolov8_xs/fold0"]}}))
    done = run("predict", f"run={tmp_path}", f"images={tmp_path}")
    assert done.returncode == 2 and "runs/gone/yolov8_xs/fold0 does not exist any more" in done.stderr


def test_predict_refuses_what_is_no_run(tmp_path):
    done = run("predict", f"run={tmp_path}", f"images={tmp_path}")
    assert done.returncode == 2 and "is not a finished run" in done.stderr


@pytest.mark.parametrize(("preset", "gpu", "is_told"), [("full", "", True), ("full", "0", False), ("quick", "", False)])
def test_without_a_gpu_the_start_says_which_preset_is_for_it(monkeypatch, capsys, preset, gpu, is_told):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpu)
    print_start(schema.Job(data="/rsna", ensemble="small"), preset, [0])
    assert ("preset=quick is made for a CPU" in capsys.readouterr().err) == is_told
