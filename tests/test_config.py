import shutil
from pathlib import Path

import pytest

from pneumonia import config, schema
from pneumonia.commands.folds_and_runs import selected_folds
from pneumonia.runs.run import Run, experiment_of
from pneumonia.schema.models import settings_of
from pneumonia.system.errors import BadInput


def fault(call, *arguments):
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    return caught.value.faults[0]


def test_text_is_literal_and_everything_else_is_yaml():
    job = config.from_arguments(schema.Job, ["data=/tmp/rsna (1)/é=${HOME},b", "n_folds=3", "json=true"])
    assert job.data == "/tmp/rsna (1)/é=${HOME},b"
    assert job.n_folds == 3
    assert job.json is True
    ensemble = config.from_arguments(schema.Ensemble, ["members=[a b.csv,é.csv]"])
    assert ensemble.members == ["a b.csv", "é.csv"]


def test_exponents_are_numbers():
    train = config.from_arguments(schema.Train, ["experiment=yolov8_xs", "optimizer.learning_rate=1e-4"])
    assert train.optimizer.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["flod=0"], "did you mean 'fold'?"),
        (["fold"], "write it as key=value"),
        (["n_folds=five"], "give a whole number"),
        (["json=perhaps"], "give true or false"),
        (["fold.x=1"], "did you mean 'fold'?"),
        (["executor=slurm"], "known: local, ray"),
    ],
)
def test_a_bad_word_is_one_clear_line(arguments, says):
    assert says in fault(config.from_arguments, schema.Job, arguments).fix


def test_an_unknown_nested_key_names_the_nearest():
    wrong = fault(config.from_arguments, schema.Train, ["experiment=yolov8_xs", "optimizer.rate=1"])
    assert "did you mean 'optimizer.learning_rate'?" in wrong.fix


def test_an_unknown_experiment_lists_the_known_ones():
    wrong = fault(config.from_arguments, schema.Train, ["experiment=yolov9"])
    assert "yolov8_xs" in wrong.fix and "mobilenetv2" in wrong.fix


def test_an_unknown_ensemble_lists_the_known_ones():
    assert "competition, cpu, demo" in fault(config.read_ensemble, "best").fix


def test_an_unknown_preset_lists_the_known_ones(monkeypatch):
    monkeypatch.delenv("RSNA_DATA", raising=False)
    assert "smoke" in fault(config.from_arguments, schema.Job, ["preset=fast"]).fix


def test_the_preset_follows_the_data(monkeypatch):
    monkeypatch.delenv("RSNA_DATA", raising=False)
    assert schema.Job().chosen_preset() == "quick"
    assert schema.Job(data="/rsna").chosen_preset() == "full"
    monkeypatch.setenv("RSNA_DATA", "/rsna")
    assert schema.Job().source() == "/rsna"
    assert schema.Job().chosen_preset() == "full"


def test_the_ensemble_follows_data_and_preset(monkeypatch):
    monkeypatch.delenv("RSNA_DATA", raising=False)
    assert schema.Job(preset="full").chosen_ensemble() == "demo"
    chosen = {preset: schema.Job(data="/rsna", preset=preset).chosen_ensemble() for preset in ("", *schema.PRESETS)}
    assert chosen == {"": "competition", "smoke": "demo", "quick": "cpu", "full": "competition"}
    assert schema.Job(data="/rsna", ensemble="small").chosen_ensemble() == "small"


@pytest.mark.parametrize("preset", schema.PRESETS)
@pytest.mark.parametrize("name", config.experiment_names())
def test_every_experiment_reads_in_every_preset(name, preset):
    experiment = config.read_experiment(name, preset)
    again = config.from_tree(schema.Experiment, config.as_tree(experiment), "again")
    assert again == experiment and type(again.model) is settings_of(experiment.model.name)


def test_two_settings_never_share_a_label():
    def label(*words):
        train = config.from_arguments(schema.Train, ["experiment=yolov8_xs", *words])
        return config.experiment_label("yolov8_xs", train.chosen_preset(), config.experiment_of(train))

    assert label("preset=full") == "yolov8_xs"
    assert label("preset=quick") == "yolov8_xs-quick"
    changed = label("preset=quick", "epochs=3")
    assert changed.startswith("yolov8_xs-quick-")
    assert len({label("preset=full"), label("preset=quick"), changed, label("preset=quick", "epochs=4")}) == 4


def test_difference_names_dotted_keys():
    assert config.difference({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 5}}) == {"a.c": 5, "d": None}


def given(*words):
    """The experiment of a `train` command line."""
    settings = config.from_arguments(schema.Train, ["experiment=mobilenet_unet", "preset=smoke", "data=demo", *words])
    return config.experiment_of(settings)


@pytest.mark.parametrize(
    "word",
    ["model.mask_losses={dice: 1}", "model.mask_losses={iou: 0.5, focal: 2}", "model.weights=file.safetensors",
     "model.weights_folder=a folder", "model.weights_folder=a ${b} \\${c}",
     "sampling.hard_from=", "augment=[flip,{rotate: 3}]", "tta=[identity]",
     "loss.class_weights=balanced", "loss.class_weights=[1,2]", "model.mask_softness=0", "model.weights_sha256="],
)  # fmt: skip
def test_a_process_of_its_own_trains_what_was_asked_for(word, tmp_path):
    experiment, run = given(word), Run(tmp_path)
    run.write_settings(experiment, {"fold": 0})
    assert experiment_of(run) == experiment


def test_a_setting_that_is_a_dictionary_is_replaced_not_merged():
    experiment = given("model.mask_losses={dice: 1}")
    assert experiment.model.mask_losses == {"dice": 1.0}
    with pytest.raises(BadInput, match="mask_losses: 3 has the wrong type; give a mapping"):
        given("model.mask_losses=3")


def test_paths_of_weights_mean_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = given("model.weights=w.safetensors", "model.weights_folder=~/weights")
    assert experiment.model.weights == str(tmp_path / "w.safetensors")
    assert experiment.model.weights_folder == str(Path("~/weights").expanduser())
    for name in ("none", "imagenet", "chexnet", "run:yolov8_xs-quick"):
        assert given(f"model.weights={name}").model.weights == name


def test_who_makes_the_batches_is_no_part_of_a_runs_name():
    usual, other = given(), given("loaders=5")
    label = config.experiment_label("mobilenet_unet", "smoke", usual)
    assert config.experiment_label("mobilenet_unet", "smoke", other) == label == "mobilenet_unet-smoke"


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("mine.yaml", "- 1\n", r"mine\.yaml: has no settings"),
        ("mine.yaml", "presets: {quik: {epochs: 3}}\n", r"mine\.yaml: there is no preset 'quik'; .*quick"),
        ("mine.yaml", "presets: quick\n", r"mine\.yaml: presets has no sections"),
        ("mine.yaml", "presets: {quick: 3}\n", r"mine\.yaml: the preset quick has no settings"),
        ("ensembles/mine.yaml", "recipe: {}\n", r"mine\.yaml: has no list of members"),
        ("ensembles/mine.yaml", "members:\n", r"mine\.yaml: has no list of members"),
        ("ensembles/mine.yaml", "members: cnn\n", r"mine\.yaml: has no list of members"),
    ],
)
def test_a_mistake_in_a_file_of_ones_own_is_one_line(tmp_path, monkeypatch, file, text, says):
    shutil.copytree(config.EXPERIMENTS, tmp_path / "experiments")
    monkeypatch.setattr(config, "REPOSITORY", tmp_path)
    monkeypatch.setattr(config, "EXPERIMENTS", tmp_path / "experiments")
    (tmp_path / "experiments" / file).write_text(text)
    with pytest.raises(BadInput, match=says):
        config.read_ensemble("mine") if "/" in file else config.read_experiment("mine", "quick")
    (tmp_path / "experiments" / "mine.yaml").write_text("model: {name: yolov8}\npresets:\n")
    assert config.read_experiment("mine", "quick").model.name == "yolov8"


def test_a_split_has_no_folds_to_choose():
    assert selected_folds(schema.Train(split="report")) == ["report"]
    with pytest.raises(BadInput, match="fold: has no effect beside split="):
        selected_folds(schema.Train(split="report", fold="all"))
