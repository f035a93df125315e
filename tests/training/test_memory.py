"""Too little memory, wherever it shows: one line with what to try, and what was trained is kept."""

import keras
import pytest
import tensorflow as tf

from pneumonia import config, schema
from pneumonia.commands.train_run import train_run
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.models.plain_classifiers import FCNN
from pneumonia.runs import checkpoint
from pneumonia.runs.memory import explain_memory_errors
from pneumonia.runs.run import Run
from pneumonia.system.errors import EnvironmentFailure
from pneumonia.training.learner import Learner


def exhausted(*_, **__):
    shape = "OOM when allocating tensor with shape[32,64,112,112] and type half\non /device:GPU:0"
    raise tf.errors.ResourceExhaustedError(None, None, shape)


@pytest.fixture(scope="module")
def data():
    settings = schema.Train(data="demo", preset="smoke")
    return prepare(settings, resolve(settings), [32])


def small(**changes) -> schema.Experiment:
    changes = {"image_size": 32, "epochs": 2, "inner_val_fraction": 0.2} | changes
    return config.read_experiment("report/fcnn", "smoke", changes)


def line_of(data, folder, experiment) -> str:
    """What a training says that runs out of memory."""
    with pytest.raises(EnvironmentFailure) as caught:
        train_run(Run(folder / "fold0"), experiment, data, "test")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("owner", "method", "kept"),
    [
        (FCNN, "build", ""),
        (Learner, "fit", ""),
        (Learner, "evaluate", ""),
        (keras.Model, "predict_on_batch", "the trained weights are kept; "),
    ],
)
def test_short_memory_is_said_in_one_line_wherever_it_shows(tmp_path, monkeypatch, data, owner, method, kept):
    monkeypatch.setattr(owner, method, exhausted)
    line = line_of(data, tmp_path, small(batch_size=8, pictures=0))  # sample pictures would be predicted first
    fix = "try batch_size=4 (and optimizer.gradient_accumulation_steps=2 for nearly the same gradients)"
    assert line == f"memory is short at batch_size=8; {kept}{fix}"


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_the_checkpoint_of_the_epoch_before_is_kept_and_sound(tmp_path, monkeypatch, data, method):
    """Memory is enough for the first epoch and not for the second; with enough of it the same run ends."""
    real, calls = getattr(Learner, method), []

    def second_time(*words, **options):
        calls.append(1)
        return exhausted() if len(calls) == 2 else real(*words, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, method, second_time)
        line = line_of(data, tmp_path, small())
    run = Run(tmp_path / "fold0")
    done, _ = checkpoint.newest_valid(run.folder)
    assert done == 1 and "; the checkpoint of the epoch before is kept; " in line
    train_run(run, small(), data, "test")
    assert run.is_done


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"batch_size": 1}, "try a smaller image_size, or a smaller model"),
        ({"batch_size": 4, "devices": 4}, "try a smaller image_size, or a smaller model"),
        ({"batch_size": 12, "devices": 4}, "try batch_size=4 (and optimizer.gradient_accumulation_steps=3 "),
        (
            {"batch_size": 3, "optimizer": {"gradient_accumulation_steps": 2}},
            "try batch_size=1 (and optimizer.gradient_accumulation_steps=6 ",
        ),
    ],
)
def test_what_to_try_is_a_batch_that_can_be_trained(changes, fix):
    with pytest.raises(EnvironmentFailure) as caught, explain_memory_errors(small(**changes)):
        exhausted()
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1073741824 bytes"),  # JAX's
        RuntimeError("failed call to cuInit: CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_every_backend_s_words_for_it_are_known(monkeypatch, error):
    monkeypatch.setattr("pneumonia.runs.memory.uses_gpu", lambda: True)
    with (
        pytest.raises(
            EnvironmentFailure, match=r"^GPU memory is short at batch_size=16; use another device$"
        ) as caught,
        explain_memory_errors(schema.Experiment(), fix="use another device"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_stay_what_they_are():
    with pytest.raises(ZeroDivisionError), explain_memory_errors(schema.Experiment()):
        1 / 0  # noqa: B018
