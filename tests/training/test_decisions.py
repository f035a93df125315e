"""What training decides on the way: stages, plateau, early stopping, best epoch, accumulation; each resumed too."""

import itertools

import keras
import numpy as np
import pytest
from spots import SIZE, WithBackbone, experiment, spot_samples, weights

from pneumonia.runs import checkpoint
from pneumonia.runs.history import read_history
from pneumonia.system.errors import BadInput
from pneumonia.training import loop
from pneumonia.training.schedules import optimizer_of
from pneumonia.training.stopping import best_epoch


def train(folder, family=WithBackbone, **changes):
    wanted = experiment(**changes)
    samples = spot_samples()
    return loop.train(wanted, family(wanted.model, SIZE), samples, spot_samples(24, seed=5), folder, "test")


def interrupted(folder, epochs, **changes):
    """The same training, stopped after so many epochs: what a killed process leaves behind."""
    real = checkpoint.write_checkpoint

    def stop(place, done, *what):
        written = real(place, done, *what)
        if done == epochs:
            raise KeyboardInterrupt
        return written

    checkpoint.write_checkpoint = stop
    try:
        with pytest.raises(KeyboardInterrupt):
            train(folder, **changes)
    finally:
        checkpoint.write_checkpoint = real


CASES = {
    "frozen first": {"model": {"frozen_epochs": 2}},
    "plateau": {"schedule": {"name": "plateau", "patience": 1, "factor": 0.5}, "optimizer": {"learning_rate": 0.05}},
    "best epoch": {"keep": "best", "optimizer": {"learning_rate": 0.05}},
    "accumulation": {"optimizer": {"gradient_accumulation_steps": 2}},
    "sgd, no averages": {"optimizer": {"name": "sgd"}, "ema": 0},
}


@pytest.mark.parametrize(("case", "epochs"), [("frozen first", 1), ("frozen first", 3), *((each, 2) for each in CASES)])
def test_stopped_after_an_epoch_it_ends_with_the_same_bits(tmp_path, case, epochs):
    whole = train(tmp_path / "whole", **CASES[case])
    interrupted(tmp_path / "part", epochs, **CASES[case])
    resumed = train(tmp_path / "part", **CASES[case])
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert read_history(tmp_path / "whole") == read_history(tmp_path / "part")


def test_a_frozen_backbone_stands_still_until_its_stage_ends(tmp_path):
    keras.utils.set_random_seed(0)
    first = WithBackbone(experiment().model, SIZE).build().get_layer("backbone").get_weights()[0]
    always = train(tmp_path / "a", model={"frozen_epochs": -1}).get_layer("backbone").get_weights()[0]
    freed = train(tmp_path / "b", model={"frozen_epochs": 2}).get_layer("backbone").get_weights()[0]
    assert np.array_equal(first, always)
    assert not np.array_equal(first, freed)


def test_early_stopping_ends_before_the_length_is_reached(tmp_path):
    train(tmp_path, epochs=30, patience=2, optimizer={"learning_rate": 0.3}, ema=0, keep="best")
    history = read_history(tmp_path)
    assert 2 < len(history) < 30
    again = train(tmp_path, epochs=30, patience=2, optimizer={"learning_rate": 0.3}, ema=0, keep="best")
    assert len(read_history(tmp_path)) == len(history)
    kept = checkpoint.tensors_of(again.variables)
    best = [variable.copy() for variable in kept.values()]
    network = WithBackbone(experiment().model, SIZE).build()
    checkpoint.read_weights(loop.best_file(tmp_path, best_epoch(history)), network.variables)
    assert all(np.array_equal(a, np.asarray(b.value)) for a, b in zip(best, network.variables))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_stopped_in_the_frozen_stage_it_keeps_that_stage_s_weights(tmp_path, keep):
    """The stage that never began has averages too, of nothing: they must not become the weights."""
    # the first step ruins it, nothing after is better
    changes = {"patience": 1, "keep": keep, "optimizer": {"learning_rate": 50.0}, "ema": 0.5}
    changes |= {"schedule": {"name": "constant", "warmup": 0.0}}  # the same rate whatever a stage's length
    stopped = train(tmp_path / "a", model={"frozen_epochs": 4}, epochs=8, **changes)
    epochs = len(read_history(tmp_path / "a"))
    assert epochs < 4
    frozen = train(tmp_path / "b", model={"frozen_epochs": -1}, epochs=8, **changes)
    assert len(read_history(tmp_path / "b")) == epochs
    assert all(np.array_equal(a, b) for a, b in zip(weights(stopped), weights(frozen), strict=True))
    assert stopped.get_layer("backbone").get_weights()[0].any() and stopped.layers[-1].get_weights()[0].any()


def test_the_plateau_s_rate_is_what_the_optimizer_uses(tmp_path):
    train(tmp_path, schedule={"name": "plateau", "patience": 1, "factor": 0.5, "final": 0.01}, epochs=8,
          optimizer={"learning_rate": 0.3}, ema=0)  # fmt: skip
    rates = [line["learning_rate"] for line in read_history(tmp_path)]
    assert rates[0] == pytest.approx(0.3) and rates[-1] < 0.3
    assert all(later in (pytest.approx(rate), pytest.approx(rate / 2)) for rate, later in itertools.pairwise(rates))


def test_accumulated_gradients_are_those_of_the_large_batch():
    """Two steps of 4 images move the weights exactly as one of 8, without dropout."""
    samples = spot_samples(8)

    def after(batch_size: int, accumulate: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        network = keras.Sequential([keras.Input((SIZE, SIZE, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
        settings = {"name": "sgd", "learning_rate": 0.1, "gradient_accumulation_steps": accumulate}
        wanted = experiment(optimizer=settings, ema=0,
                            schedule={"name": "constant", "warmup": 0.0})  # fmt: skip
        network.compile(optimizer_of(wanted, 8 // batch_size), "mse")
        images, labels = np.asarray(samples.images)[..., None] / 255, (samples.classes == 2).astype(np.float32)
        network.fit(images, labels, batch_size=batch_size, shuffle=False, verbose=0)
        return network.get_weights()

    for one, other in zip(after(8, 1), after(4, 2)):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"optimizer": {"name": "lion"}}, "adamw, adam, sgd"),
        ({"schedule": {"name": "steps"}}, "plateau"),
        ({"precision": "half"}, "mixed_bfloat16"),
        ({"xla": "yes"}, "auto, on, off"),
    ],
)
def test_unknown_settings_list_the_known_ones(tmp_path, changes, match):
    with pytest.raises(BadInput, match=match):
        train(tmp_path, **changes)


def test_mixed_precision_keeps_float32_weights_and_outputs(tmp_path):
    network = train(tmp_path, precision="mixed_bfloat16")
    assert {v.dtype for v in network.variables if "seed" not in v.path} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
