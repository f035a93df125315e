"""The command line as a person or a script meets it: real processes, exit codes, what is printed where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pneumonia import cli, config

REPOSITORY = Path(__file__).resolve().parents[1]


def run(*words, cwd=None, **extra):
    env = {key: value for key, value in os.environ.items() if key != "RSNA_DATA"} | extra
    env["PYTHONPATH"] = str(REPOSITORY / "src")
    command = [sys.executable, "-P", "-m", "pneumonia", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fold=0", "data=/nowhere/at all"], "/nowhere/at all"),
        (["flod=0"], "did you mean 'fold'?"),
        (["fold=7"], "0, 1, 2, 3, 4 or all"),
        (["train", "experiment=nothing", "fold=0"], "known experiments:"),
        (["ensemble=nothing"], "known ensembles: competition, cpu, demo, small"),
        (["chekc"], "did you mean 'check'?"),
    ],
)
def test_bad_use_is_one_line_and_exit_2(words, says):
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and says in done.stderr


def test_json_says_the_error_too():
    done = run("fold=0", "data=/nowhere", "json=true")
    assert done.returncode == 2
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error[0]["file"] == "/nowhere"


def test_help_names_every_command_and_needs_only_the_standard_library():
    bare = "import sys; sys.modules.update(dict.fromkeys(['yaml', 'numpy', 'pandas', 'keras', 'tqdm']))\n"
    code = bare + "from pneumonia.cli import main; sys.exit(main(['--help']))"
    env = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in cli.COMMANDS if name != "job")
    assert "preset" in done.stdout and "RSNA_DATA" in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_command_names_its_settings(name, capsys):
    assert cli.main([name, "--help"]) == 0
    assert "json=false" in capsys.readouterr().out


def test_a_module_of_the_callers_folder_is_not_imported(tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('not this one')")
    done = run("score", "submission=a.csv", "labels=b.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "not this one" not in done.stderr


def printed_help(capsys, *words) -> dict[str, str]:
    """What `--help` says of every setting that it names."""
    assert cli.main([*words, "--help"]) == 0
    lines = (line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ") and "=" in line)
    return dict(word.partition("=")[::2] for word in lines if "=" in word)


def test_help_prints_the_defaults_in_force(capsys):
    usual = printed_help(capsys, "train")
    assert (usual["image_size"], usual["epochs"], usual["ema"], usual["inner_val_fraction"]) == (
        "512", "20", "0.998", "0.05"
    )  # fmt: skip


def test_help_of_an_experiment_prints_its_own_values(capsys):
    own = printed_help(capsys, "train", "experiment=yolov8_xs", "preset=quick")
    experiment = config.read_experiment("yolov8_xs", "quick")
    assert own["image_size"] == str(experiment.image_size) == "224"
    assert own["model.size"] == "xs" and "model.encoder" not in own
    assert own["sampling.positives"] == "0.5"
    assert cli.main(["train", "experiment=yolov9", "--help"]) == 2
    assert "known experiments" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "experiment=mobilenetv2", "tta={identity: 1}"], "tta: {'identity': 1} has the wrong type"),
        (["train", "experiment=mobilenetv2", "model.inputs={age: 1}"], "model.inputs: {'age': 1} has the wrong type"),
        (
            ["train", "experiment=mobilenetv2", "loss.class_weights={a: 1}"],
            "loss.class_weights: {'a': 1} has the wrong",
        ),
        (["train", "experiment=mobilenetv2", "augment={flip: 1}"], "augment: {'flip': 1} has the wrong type"),
        (["train", "experiment=mobilenetv2", "model.encoder=vgg16"], "unknown setting 'model.encoder' of mobilenetv2"),
        (["train", "experiment=mobilenet_unet", "image_size=100"], "image_size: 100 is not a size for mobilenet_unet"),
        (["ensemble", "members=5"], "members: 5 has the wrong type; give text, or a list: [a,b], or a mapping"),
        (["ensemble", "members={a: 5}"], "members: {'a': 5} has the wrong type"),
        (["apply", "classifiers=true"], "classifiers: True has the wrong type"),
        (["score", "out=scores.json"], "unknown setting 'out'"),  # it writes no file
        (["check", "out=faults.txt"], "unknown setting 'out'"),
        (["view", "submission=last", "clip_boxes=true"], "unknown setting 'clip_boxes'"),  # it checks no boxes
        (["score", "draws=-1"], "draws: -1 is not allowed; give 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(words, says, capsys):
    assert cli.main(words) == 2
    stderr = capsys.readouterr().err
    assert says in stderr and stderr.count("\n") == 1


def test_a_mapping_where_a_list_belongs_is_one_line_at_the_real_command_line():
    done = run("train", "experiment=mobilenetv2", "tta={identity: 1}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: command line: tta: {'identity': 1} has the wrong type; give a list: [a,b]\n"


def test_a_reader_that_closes_the_pipe_is_no_bug():
    """As `| head -1` does: the command prints more than a pipe's buffer of Python holds."""
    command = [sys.executable, "-P", "-m", "pneumonia", "list"]
    environment = os.environ | {"PYTHONPATH": str(config.REPOSITORY / "src"), "PYTHONUNBUFFERED": "1"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert done.returncode == 0 and done.stderr == ""
