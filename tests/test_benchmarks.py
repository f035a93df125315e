"""Every benchmark still finds what it imports: they run by hand, seldom, long after a rename."""

import runpy
from pathlib import Path

import keras
import numpy as np
import pytest

from pneumonia import schema
from pneumonia.data.samples import Samples
from pneumonia.models.registry import family

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_it_imports(path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    parts = runpy.run_path(str(path), run_name=f"imported_{path.stem}")
    assert parts["__doc__"].strip(), "says what it measures and how to run it"


@pytest.fixture
def throughput(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import classifier_throughput

    return classifier_throughput


@pytest.fixture
def input_pipeline(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import input_pipeline

    return input_pipeline


@pytest.fixture
def samples():
    images = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32), dtype=np.uint8))
    return Samples(np.array(list("abcd")), images, [np.empty((0, 4))] * 4, np.array([0, 2, 1, 2]))


# Sandler et al., MobileNetV2, table 4; torchvision's table of DenseNet121: both with a head of 1000 classes, 1 million
@pytest.mark.parametrize("name, published", [("mobilenetv2", 300e6), ("densenet121", 2.83e9)])
def test_multiply_adds_are_the_published_ones(throughput, name, published):
    network = family(schema.model_settings(name=name), 224).build()
    assert throughput.multiply_adds(network) == pytest.approx(published, rel=0.01)


def test_a_kernel_that_is_not_counted_is_named(throughput):
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2DTranspose(1, 3, name="upwards")])
    with pytest.raises(ValueError, match="upwards is a Conv2DTranspose"):
        throughput.multiply_adds(network)


def test_throughput_is_measured_of_every_way(throughput, samples):
    settings = throughput.Settings(image_size=32, batch_size=2, steps=2, turns=1)
    adds, rates = throughput.measure(settings, "fcnn", samples)
    assert adds == 32 * 32 * 3 * 128 + 128
    assert list(rates) == list(throughput.PASSES) and min(rates.values()) > 0


def test_loader_threads_are_compared(input_pipeline, samples):
    rates = input_pipeline.by_threads(samples, family(schema.model_settings(name="fcnn"), 32), count=64, turns=1)
    assert list(rates) == [1, 2, 4, 8] and min(rates.values()) > 0


def test_an_epoch_is_compared_as_experiments_train_it(input_pipeline, samples):
    model = schema.model_settings(name="fcnn")
    seconds = input_pipeline.compare_training(model, samples, 32, batch=2, steps=3, turns=1)
    assert len(seconds) == 2 and min(seconds.values()) > 0
