"""A run's folder: what it was begun with, and who may go on with it."""

import dataclasses
import os
import subprocess

import pytest

from pneumonia import config, schema
from pneumonia.commands import folds_and_runs, main_job, train
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.runs.environment import environment, gpu, threads
from pneumonia.runs.run import Run, experiment_of
from pneumonia.system.errors import BadInput
from pneumonia.system.files import read_json, sha256, write_json
from pneumonia.training.other_runs import learned_from
from pneumonia.training.settings import check_experiment

IDENTITY = {"data": "demo", "data_key": "1", "folds_sha256": "2", "fold": 0}


@pytest.fixture
def experiment():
    return config.read_experiment("mobilenet_unet", "smoke")


def test_a_run_goes_on_with_the_same_settings_only(tmp_path, experiment):
    run = Run(tmp_path / "fold0")
    run.begin(experiment, IDENTITY)
    run.begin(dataclasses.replace(experiment, loaders=3), IDENTITY)  # changes no bits
    with pytest.raises(BadInput, match=r"config.yaml: was begun with other settings: epochs was 1 and is now 2"):
        run.begin(dataclasses.replace(experiment, epochs=2), IDENTITY)
    with pytest.raises(BadInput, match=r"identity.data_key was 1 and is now 3"):
        run.begin(experiment, IDENTITY | {"data_key": "3"})


def test_a_run_of_before_a_setting_existed_goes_on_at_its_default(tmp_path, experiment):
    run = Run(tmp_path / "fold0")
    run.begin(experiment, IDENTITY)
    lines = run.settings_file.read_text().splitlines(keepends=True)
    run.settings_file.write_text("".join(line for line in lines if not line.startswith("mosaic:")))
    run.begin(experiment, IDENTITY)
    with pytest.raises(BadInput, match=r"mosaic was 0\.0 and is now 0\.5"):
        run.begin(dataclasses.replace(experiment, mosaic=0.5), IDENTITY)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no such call")
def test_threads_are_those_the_backend_takes(monkeypatch):
    for variable in ("TF_NUM_INTRAOP_THREADS", "NPROC"):
        monkeypatch.delenv(variable, raising=False)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # as `taskset` does
    try:
        assert threads("tensorflow") == threads("jax") == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert threads("tensorflow") == len(allowed)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    assert threads("tensorflow") == 7 and threads("jax") == len(allowed)


def test_who_makes_the_batches_may_be_changed_until_the_run_is_done(tmp_path, experiment):
    run = Run(tmp_path / "fold0")
    run.write_settings(experiment, IDENTITY)
    run.write_settings(dataclasses.replace(experiment, loaders=3), IDENTITY)
    assert experiment_of(run) == dataclasses.replace(experiment, loaders=3)


def test_a_folder_without_a_prepared_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is not the folder of a run"):
        Run(tmp_path).start()


def begun_with(run, **environment):
    """What of its environment.json was another, when the run was begun."""
    file = run.folder / "environment.json"
    write_json(file, read_json(file) | environment)


def test_a_run_goes_on_with_the_backend_that_began_it_only(tmp_path, experiment):
    run = Run(tmp_path / "fold0")
    run.begin(experiment, IDENTITY)
    begun_with(run, backend="another")
    before = (run.folder / "environment.json").read_text()
    with pytest.raises(BadInput, match=r"backend was another and is now .*; set KERAS_BACKEND=another to continue it"):
        run.begin(experiment, IDENTITY)
    assert (run.folder / "environment.json").read_text() == before


def test_a_run_that_goes_on_elsewhere_says_so_and_keeps_what_it_was_begun_with(tmp_path, experiment, capsys):
    run = Run(tmp_path / "fold0")
    run.begin(experiment, IDENTITY)
    assert [start["changed"] for start in read_json(run.folder / "environment.json")["starts"]] == [{}]
    first = read_json(run.folder / "environment.json")
    elsewhere = {"threads": 64, "onednn": "another", "devices": ["another"]}
    elsewhere["packages"] = first["packages"] | {"keras": "3.9.0"}
    begun_with(run, git_commit="before", **elsewhere)
    capsys.readouterr()
    run.begin(experiment, IDENTITY)
    said = capsys.readouterr().err
    assert f"threads was 64 and is now {first['threads']}" in said and "packages.keras was 3.9.0 and is now" in said
    assert f"devices was ['another'] and is now {first['devices']}" in said and "git_commit" not in said
    kept = read_json(run.folder / "environment.json")
    assert {key: kept[key] for key in elsewhere} == elsewhere
    assert kept["starts"][0] == first["starts"][0]
    changed = kept["starts"][1]["changed"]
    assert changed["threads"] == first["threads"] and changed["packages.keras"] == first["packages"]["keras"]
    assert set(changed) == {"threads", "onednn", "devices", "packages.keras", "git_commit"}


def test_a_run_that_goes_on_where_it_was_begun_says_nothing(tmp_path, experiment, capsys):
    run = Run(tmp_path / "fold0")
    run.begin(experiment, IDENTITY)
    older = read_json(run.folder / "environment.json")
    del older["starts"], older["processor"]
    write_json(run.folder / "environment.json", older)
    run.begin(experiment, IDENTITY)
    assert capsys.readouterr().err == "" and len(read_json(run.folder / "environment.json")["starts"]) == 1


def finished(folder, kind="classifier"):
    """A finished run's weights and out-of-fold table, as far as others learn from them."""
    run = Run(folder)
    folder.mkdir(parents=True)
    run.weights.write_text(f"weights of {folder}")
    run.table("oof", kind).write_text(f"table of {folder}")
    write_json(folder / "done.json", {"kind": kind})
    return run


def test_what_a_run_learned_from_is_recorded_by_its_checksum(tmp_path):
    runs = [finished(tmp_path / "demo-1" / "first" / f"fold{fold}", kind="localizer") for fold in range(3)]
    changes = {
        "model": {"weights": "run:first", "alpha": 0.35},
        "sampling": {"hard_from": "first", "hard_negatives": 0.5},
    }
    experiment = config.read_experiment("mobilenet_unet", "smoke", changes)
    run = Run(tmp_path / "demo-1" / "second" / "fold1")
    run.begin(experiment, IDENTITY, learned_from(run, experiment))
    others = {each.folder.name: sha256(each.table("oof", "localizer")) for each in (runs[0], runs[2])}
    wanted = {"weights": sha256(runs[1].weights), "hard_from": others}
    assert read_json(run.folder / "environment.json")["learned_from"] == wanted

    runs[1].weights.unlink()
    run.begin(experiment, IDENTITY, learned_from(run, experiment))  # training says what is missing, where it needs it
    changed = read_json(run.folder / "environment.json")["starts"][1]["changed"]
    assert changed["learned_from.weights"] is None

    plain = Run(tmp_path / "demo-1" / "third" / "fold1")
    without = config.read_experiment("mobilenet_unet", "smoke")
    plain.begin(without, IDENTITY, learned_from(plain, without))
    assert read_json(plain.folder / "environment.json")["learned_from"] == {}


def test_whether_the_source_was_edited_is_recorded(tmp_path, experiment, monkeypatch):
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    assert environment(experiment)["git_dirty"] is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "one.py").write_text("one = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "notes.txt").write_text("no source")
    assert environment(experiment)["git_dirty"] is False
    (tmp_path / "src" / "one.py").write_text("one = 2\n")
    assert environment(experiment)["git_dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert environment(experiment)["git_dirty"] is None and environment(experiment)["git_commit"] is None


def test_a_gpu_is_named_with_its_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 550.54'\necho 'NVIDIA H100, 550.54'\n")
    tool.chmod(0o755)
    assert gpu() == "NVIDIA H100, 550.54"
    tool.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert gpu() is None


def test_the_main_job_refuses_finished_runs_of_an_edited_experiment(tmp_path, monkeypatch):
    """Before it trains anything: an ensemble of older members would carry the new settings' name."""
    job = schema.Job(data="demo", preset="smoke")
    data = prepare(job, resolve(job), [64])
    monkeypatch.setattr(folds_and_runs, "REPOSITORY", tmp_path)
    monkeypatch.setattr(main_job, "run_all", lambda *_: pytest.fail("it went on"))
    older = config.read_experiment("yolov8_xs", "smoke", {"epochs": 7})
    run = folds_and_runs.run_of(data, "yolov8_xs", "smoke", config.read_experiment("yolov8_xs", "smoke"), 0)
    run.begin(older, data.identity | {"fold": 0})
    (run.folder / "done.json").write_text("{}")
    with pytest.raises(BadInput, match="epochs was 7 and is now 1"):
        main_job.main_job(job)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs: 0 is not allowed; give 1 or more"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"ema": 1.0}, "ema: 1 "),
        ({"inner_val_fraction": -0.1}, "inner_val_fraction: -0.1"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate: nan"),
        ({"sampling": {"positives": 50}}, "sampling.positives: 50 is not allowed; give 0 to 1"),
        ({"model": {"min_area": 1.0}}, "model.min_area: 1 "),
        ({"precision": "float16"}, "precision: 'float16' is not allowed; did you mean 'float32'?"),
        ({"xla": "true"}, "xla: 'true' is not allowed; known: auto, on, off"),
        ({"optimizer": {"name": "lion"}}, "optimizer.name: 'lion' is not allowed; known: adamw, adam, sgd"),
        ({"schedule": {"name": "step"}}, "schedule.name: 'step' is not allowed; known: cosine, constant, plateau"),
        ({"tta": ["turn"]}, "unknown variant 'turn'"),
        ({"augment": ["turn"]}, "turn"),
        ({"keep": "best", "inner_val_fraction": 0.0}, "inner_val_fraction: keep=best"),
        ({"model": {"encoder": "resnet34"}}, "unknown setting 'model.encoder' of mobilenet_unet"),
        ({"loss": {"name": "focal"}}, "loss: is for classifiers"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_name(change, words):
    with pytest.raises(BadInput) as caught:
        check_experiment(config.read_experiment("mobilenet_unet", "smoke", change))
    assert words in str(caught.value)


def test_every_fault_is_told_at_once():
    changes = {"epochs": 0, "batch_size": -1, "model": {"encoder": "vgg16"}}
    with pytest.raises(BadInput) as caught:
        config.read_experiment("mobilenet_unet", "smoke", changes)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("preset", schema.PRESETS)
@pytest.mark.parametrize("name", config.experiment_names())
def test_the_experiments_that_come_along_make_sense(name, preset):
    check_experiment(config.read_experiment(name, preset))


@pytest.mark.parametrize(
    ("name", "word", "says"),
    [
        ("mobilenet_unet", "epochs=0", "epochs: 0"),
        ("mobilenet_unet", "model.mask_losses={dise: 1}", "model.mask_losses: .*; did you mean 'dice'"),
        ("mobilenet_unet", "image_size=100", "image_size: 100 is not a size for mobilenet_unet"),
        ("mobilenetv2", "model.name=mobilenetv4", "model.name: unknown model 'mobilenetv4'"),
    ],
)
def test_nonsense_is_refused_before_any_dicom_is_read(monkeypatch, name, word, says):
    monkeypatch.setattr(train, "prepare", lambda *_: pytest.fail("it read the data"))
    with pytest.raises(BadInput, match=says):
        train.train(config.from_arguments(schema.Train, [f"experiment={name}", "data=demo", word]))
