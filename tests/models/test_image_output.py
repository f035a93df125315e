"""The output for the whole image, which three families can have: what it pools."""

import keras
import numpy as np
import pytest

from pneumonia import schema
from pneumonia.models.backbones import BACKBONE
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


@pytest.mark.parametrize("image_maps", ["backbone", "pyramid"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_output_pools_the_maps_that_it_is_set_to(name, image_maps):
    keras.utils.set_random_seed(0)
    settings = schema.model_settings(name=name, backbone="mobilenetv2", image_loss=0.5, image_maps=image_maps)
    network = family(settings, SIZE).build()
    before, (layer, channels) = image_logits(network), FAMILIES[name]
    wanted = channels if image_maps == "pyramid" else network.get_layer(BACKBONE).output[-1].shape[-1]
    assert network.get_layer("image_pooled").output.shape == (None, 2 * wanted)
    kernel = network.get_layer(layer).kernel
    kernel.assign(kernel + 1.0)
    assert np.array_equal(image_logits(network), before) == (image_maps == "backbone")
