"""The learning rate over the steps, the clipped gradient and the averaged weights, each by hand."""

import keras
import numpy as np
import pytest

from pneumonia.schema import Experiment, Optimizer, Schedule
from pneumonia.training.schedules import assign_averages, averaged_weights, optimizer_of, rate_of

PEAK, STEPS, WARMUP, FINAL = 0.4, 100, 20, 0.1


@pytest.mark.parametrize(
    ("name", "middle", "end"), [("cosine", PEAK * (FINAL + 1) / 2, PEAK * FINAL), ("constant", PEAK, PEAK)]
)
def test_the_rate_rises_to_its_peak_and_then_falls_or_stays(name, middle, end):
    schedule = Schedule(name, warmup=WARMUP / STEPS, final=FINAL)
    rate = rate_of(Experiment(optimizer=Optimizer(learning_rate=PEAK), schedule=schedule), STEPS)
    at = {step: float(rate(step)) for step in range(STEPS + 50)}
    assert at[0] == pytest.approx(PEAK / WARMUP)
    assert at[WARMUP // 2 - 1] == pytest.approx(PEAK / 2)
    assert at[WARMUP - 1] == pytest.approx(PEAK) == at[WARMUP]
    assert at[(WARMUP + STEPS) // 2] == pytest.approx(middle)
    assert at[STEPS] == pytest.approx(end) == at[STEPS + 49]
    assert max(at.values()) == pytest.approx(PEAK)


def test_without_warm_up_the_first_step_has_the_peak():
    experiment = Experiment(optimizer=Optimizer(learning_rate=PEAK), schedule=Schedule("cosine", warmup=0.0, final=0.0))
    rate = rate_of(experiment, STEPS)
    assert float(rate(0)) == pytest.approx(PEAK) and float(rate(STEPS)) == pytest.approx(0.0, abs=1e-7)


def sgd(rate=0.1, clip_norm=0.0, accumulate=1, ema=0.0):
    settings = Optimizer("sgd", rate, weight_decay=0.0, clip_norm=clip_norm, gradient_accumulation_steps=accumulate)
    return optimizer_of(Experiment(optimizer=settings, ema=ema, schedule=Schedule("constant", warmup=0.0)), 100)


@pytest.mark.parametrize(("clip_norm", "length"), [(0.01, 0.01), (0.0, 50.0), (80.0, 50.0)])
def test_a_step_moves_the_weights_no_further_than_the_clipped_gradient(clip_norm, length):
    """The norm is that of all gradients together. Nesterov's first step is 1 + momentum gradients long."""
    gradients = [np.array([30.0, 0.0], np.float32), np.array([[40.0]], np.float32)]  # together 50 long
    variables = [keras.Variable(np.zeros(gradient.shape, np.float32)) for gradient in gradients]
    one = sgd(rate=0.1, clip_norm=clip_norm)
    one.build(variables)
    one.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
    for variable, gradient in zip(variables, gradients):
        expected = -(1 + 0.9) * 0.1 * length * gradient / 50
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_averaged_weights_are_those_computed_by_hand(accumulate):
    """The first update starts them. With two steps to an update they move twice, each time by the decay's root."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    one, decay = sgd(accumulate=accumulate, ema=0.8), 0.8 ** (1 / accumulate)
    network.compile(one, "mse")
    generator, average = np.random.default_rng(0), 0.0
    for step in range(4):
        network.train_on_batch(generator.random((4, 2)), generator.random((4, 1)))
        weights = network.get_weights()[0]
        average = weights if step < accumulate else decay * average + (1 - decay) * weights
    assert not np.allclose(average, weights, rtol=1e-3)
    with averaged_weights(network):
        np.testing.assert_allclose(network.get_weights()[0], average, rtol=1e-5)
    assert np.array_equal(network.get_weights()[0], weights)
    assign_averages(network)
    np.testing.assert_allclose(network.get_weights()[0], average, rtol=1e-5)
