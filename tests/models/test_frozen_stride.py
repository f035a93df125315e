"""model.frozen_stride: the first layers of a backbone with weights keep them, and their batch statistics."""

import dataclasses

import keras
import numpy as np
import pytest

from pneumonia import config, schema
from pneumonia.data.samples import Samples
from pneumonia.models.normalisation import all_layers
from pneumonia.models.registry import family
from pneumonia.models.segmentation_unet import is_encoder
from pneumonia.system.files import sha256
from pneumonia.training import loop

SIZE = 64


def backbone_of(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers with weights of the model inside the network, without a U-Net's decoder."""
    (inner,) = (layer for layer in network.layers if isinstance(layer, keras.Model))
    return [layer for layer in all_layers(inner) if layer.weights and is_encoder(layer)]


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "mobilenetv2", "alpha": 0.35},
        {"name": "densenet121"},
        {"name": "yolov8"},
        {"name": "retinanet", "backbone": "efficientnetlite0"},
        {"name": "segmentation_unet"},
    ],
    ids=lambda settings: settings["name"],
)
def test_the_layers_up_to_the_stride_are_frozen_and_no_others(settings):
    built = family(schema.model_settings(**settings, frozen_stride=4), SIZE)
    network = built.build()
    built.freeze(network, False)
    layers = backbone_of(network)
    assert all(layer.trainable for layer in layers)  # weights=none: there is nothing to keep
    for stride, whole in ((4, False), (4, True), (8, False), (2, False), (0, False)):
        # as if it had been built with them
        built.model = dataclasses.replace(built.model, weights="imagenet", frozen_stride=stride)
        built.freeze(network, whole)
        frozen = [layer for layer in layers if not layer.trainable]
        assert frozen == [layer for layer in layers if whole or SIZE / layer.output.shape[1] <= stride]
        assert bool(frozen) == bool(stride) and (whole or len(frozen) < len(layers))


def test_in_a_training_they_keep_weights_and_statistics(tmp_path):
    model = {"name": "mobilenetv2", "alpha": 0.35, "head": "classes"}
    keras.utils.set_random_seed(1)
    start = family(schema.model_settings(**model), SIZE).build()
    file = tmp_path / "start.weights.h5"
    (inner,) = (layer for layer in start.layers if isinstance(layer, keras.Model))
    inner.save_weights(file)
    tree = {"image_size": SIZE, "epochs": 1, "batch_size": 8, "ema": 0, "inner_val_fraction": 0}
    tree |= {"model": model | {"weights": str(file), "weights_sha256": sha256(file), "frozen_stride": 4}}
    experiment = config.from_tree(schema.Experiment, tree, "test")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, SIZE, SIZE), dtype=np.uint8)
    samples = Samples(np.array([f"{i}" for i in range(16)]), images, [np.empty((0, 4))] * 16, np.arange(16) % 3)
    trained = loop.train(experiment, family(experiment.model, SIZE), samples, None, tmp_path / "run", "test")
    for before, layer in zip(backbone_of(start), backbone_of(trained), strict=True):
        same = [np.array_equal(a, b) for a, b in zip(before.get_weights(), layer.get_weights(), strict=True)]
        assert all(same) if layer.output.shape[1] >= SIZE // 4 else not any(same)
