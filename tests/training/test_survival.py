"""Runs killed at random moments, of two experiments, through the whole command: the same bits as uninterrupted.

KILLS=10 ./run.sh test tests/training/test_survival.py -s      # prints the table of moments
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from event_reader import curves, pictures

from pneumonia.jobs.job import THREAD_VARIABLES
from pneumonia.runs.event_file import NAME as EVENT_FILE
from pneumonia.runs.history import read_history
from pneumonia.system.files import sha256

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("KILLS", "4"))  # of each experiment
# what is waited for before each of the first kills, then a random pause; later ones come at any moment
REACHED = ("config.yaml", "epoch-00001-*", "epoch-00002-*", "weights.safetensors")
COMPARED = ("weights.safetensors", "metrics.jsonl")


def start(experiment: str, out: Path, *words) -> subprocess.Popen:
    """With every core, also where tests share them: their timing must change no bit."""
    settings = (f"experiment={experiment}", "preset=smoke", "data=demo", "epochs=3", f"out={out}", "json=true")
    command = [sys.executable, "-P", "-m", "pneumonia", "train", *settings, *words]
    env = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    env["PYTHONPATH"] = str(REPOSITORY / "src")
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def start_small(out: Path, *words) -> subprocess.Popen:
    """The quickest network, where it is the same for all."""
    return start("report/fcnn", out, "image_size=32", *words)


def ended(process: subprocess.Popen) -> Path:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return Path(json.loads(out.splitlines()[-1])["runs"][0])


def files(folder: Path) -> dict[str, str]:
    """{name: checksum} of everything that a run leaves behind and that must not depend on interruptions."""
    return {name: sha256(folder / name) for name in (*COMPARED, *(table.name for table in folder.glob("*.csv")))}


def stage(folder: Path) -> str:
    """What a killed run had reached."""
    if not folder.exists():
        return "starting"
    if (folder / "weights.safetensors").exists():
        return "predicting"
    checkpoints = sorted(folder.glob("epoch-*"))
    return f"after epoch {int(checkpoints[-1].name[6:11])}" if checkpoints else "before the first checkpoint"


@pytest.mark.timeout(1800)  # six starts of TensorFlow: minutes, and on a busy machine more
@pytest.mark.parametrize("experiment", ["report/cnn", "yolov8_xs"])
def test_killed_at_random_moments_it_ends_with_the_same_bits(experiment, tmp_path):
    started = time.monotonic()
    whole_run = ended(start(experiment, tmp_path / "whole"))
    whole = files(whole_run)
    seconds = time.monotonic() - started
    moments, draw = [], random.Random(experiment)
    while len(moments) < KILLS:
        process = start(experiment, tmp_path / "killed")
        if len(moments) < len(REACHED):
            while process.poll() is None and not list(tmp_path.glob(f"killed/**/fold0/{REACHED[len(moments)]}")):
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.5))
        else:
            time.sleep(draw.uniform(0, 0.95) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        folder = next(iter((tmp_path / "killed").glob("**/fold0")), tmp_path / "none")
        if process.returncode != -signal.SIGKILL:  # it was done before: that run is over, the next one begins anew
            assert files(folder) == whole
            folder.rename(tmp_path / f"done-{len(moments)}-{time.monotonic()}")
            continue
        moments.append(stage(folder))
    last = start(experiment, tmp_path / "killed")
    resumed_run = ended(last)
    resumed = files(resumed_run)
    different = [name for name, checksum in whole.items() if resumed[name] != checksum]
    said = f"{experiment}: killed {len(moments)} times ({', '.join(moments)})"
    print(f"\n{said}; {len(whole)} files compared, {len(different)} differ")
    assert different == [] and set(resumed) == set(whole)
    assert_same_events(whole_run, resumed_run)


def assert_same_events(whole: Path, resumed: Path) -> None:
    """TensorBoard reads the same curves, those of metrics.jsonl, and the same pictures."""
    losses = [(line["epoch"], pytest.approx(line["loss"], rel=1e-6)) for line in read_history(whole)]
    assert curves(resumed) == curves(whole) and curves(whole)["training/loss"] == losses
    drawn, drawn_again = pictures(whole), pictures(resumed)
    assert list(drawn) == list(drawn_again) and len(drawn) > 0
    for tag, ((step, picture),) in drawn.items():  # of the last epoch
        ((step_again, picture_again),) = drawn_again[tag]
        assert step == step_again == len(losses) and np.array_equal(picture, picture_again)


def test_weights_and_tables_do_not_depend_on_tracking(tmp_path):
    tracked = ended(start_small(tmp_path / "tracked", "pictures=1"))
    silent = ended(start_small(tmp_path / "silent", "tracking=none"))
    assert files(tracked) == files(silent) and len(files(tracked)) > len(COMPARED)
    assert tracked.name == silent.name and len(pictures(tracked)) > 0
    assert (tracked / EVENT_FILE).exists() and not list(silent.glob("*tfevents*"))


def test_damaged_files_of_a_half_done_run_are_noticed_and_it_ends_with_the_same_bits(tmp_path):
    """Weights with a bit flipped, and a cut history: training goes on from the checkpoint, which holds both."""
    folder = ended(start_small(tmp_path))
    before = files(folder)
    shutil.rmtree(folder)
    process = start_small(tmp_path)
    while not (folder / "weights.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "done.json").exists()
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-5] ^= 4
    (folder / "weights.safetensors").write_bytes(content)
    (folder / "metrics.jsonl").write_text("")
    (folder / ".epoch-00001-0.safetensors.1.2.tmp").write_text("half a checkpoint")
    again = start_small(tmp_path)
    _, err = again.communicate()
    assert again.returncode == 0 and "weights.safetensors: damaged" in err and "goes on after epoch 3/3" in err, err
    assert files(folder) == before and not list(folder.glob(".*.tmp"))


def test_without_a_table_it_predicts_again_and_with_other_settings_it_refuses(tmp_path):
    """The weights are there, a table is not: the same command makes it, without training."""
    folder = ended(start_small(tmp_path))
    before = files(folder)
    for lost in (("done.json", "test_classes.csv"), ("test_classes.csv",)):
        for name in lost:
            (folder / name).unlink()
        again = start_small(tmp_path)
        _, err = again.communicate()
        assert again.returncode == 0 and "epoch" not in err, err
        assert files(folder) == before
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("batch_size: 8", "batch_size: 4"))
    _, err = (refused := start_small(tmp_path)).communicate()
    assert refused.returncode == 2 and "batch_size was 4 and is now 8" in err


def test_ctrl_c_stops_within_a_step_and_the_same_command_ends_with_the_same_bits(tmp_path):
    words = ("epochs=15", "ema=0.9")
    process = start_small(tmp_path / "stopped", *words)
    while not list(tmp_path.glob("stopped/**/fold0/epoch-*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again to continue" in err
    assert time.monotonic() - begun < 30
    assert "goes on after epoch" not in err
    again = start_small(tmp_path / "stopped", *words)
    out, err = again.communicate()
    assert again.returncode == 0 and "goes on after epoch" in err, err
    whole = files(ended(start_small(tmp_path / "whole", *words)))
    assert files(Path(json.loads(out.splitlines()[-1])["runs"][0])) == whole
