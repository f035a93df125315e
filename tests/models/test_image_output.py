"""The output for the whole image, which three families can have: what it pools, and what its loss trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pneumonia import schema
from pneumonia.models.backbones import BACKBONE
from pneumonia.models.image_output import image_cross_entropy
from pneumonia.models.registry import family

SIZE = 64
FAMILIES = {  # a layer before the maps that boxes come from, and the channels of these maps
    "unet": ("decoder_4_conv", 96 + 64 + 32),
    "yolov8": ("pyramid_p4p5_pre_conv", 64 + 128 + 256),
    "retinanet": ("pyramid_p3_conv", 5 * 128),
}


def image_logits(network):
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 1)).astype(np.uint8)
    return np.asarray(network(images, training=False)["image_logits"])


def build(name, image_maps):
    keras.utils.set_random_seed(0)
    settings = schema.model_settings(name=name, backbone="mobilenetv2", image_loss=0.5, image_maps=image_maps)
    return family(settings, SIZE).build()


@pytest.mark.parametrize("image_maps", ["backbone", "pyramid"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_output_pools_the_maps_that_it_is_set_to(name, image_maps):
    network = build(name, image_maps)
    before, (layer, channels) = image_logits(network), FAMILIES[name]
    backbone_channels = network.get_layer(BACKBONE).output[-1].shape[-1]
    wanted = channels if image_maps == "pyramid" else backbone_channels
    assert network.get_layer("image_pooled").output.shape == (None, 2 * wanted)
    kernel = network.get_layer(layer).kernel
    kernel.assign(kernel + 1.0)
    assert np.array_equal(image_logits(network), before) == (image_maps == "backbone")


@pytest.mark.parametrize("image_maps", ["backbone", "pyramid"])
@pytest.mark.parametrize("name", FAMILIES)
def test_its_loss_trains_the_maps_of_boxes_only_where_it_is_set_to(name, image_maps):
    network = build(name, image_maps)
    kernel = network.get_layer(FAMILIES[name][0]).kernel.value
    backbone_kernel = network.get_layer(BACKBONE).trainable_variables[0].value
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 1)).astype(np.uint8)
    with tf.GradientTape() as tape:
        loss = image_cross_entropy(network(images, training=False)["image_logits"], np.array([0, 2]))
    maps_gradient, backbone_gradient = tape.gradient(loss, [kernel, backbone_kernel])
    assert (maps_gradient is None) == (image_maps != "pyramid")
    assert np.abs(backbone_gradient).sum() > 0
