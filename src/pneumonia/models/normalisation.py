"""What every network begins with, and what makes batch statistics usable after a short training."""

from collections.abc import Iterator

import keras

# keras.applications keeps 0.99 or 0.999 of the old batch statistics at every step: after the few hundred steps of a
# small data set those are still mostly the initial 0 and 1, and inference does not see what training saw.
BATCH_NORM_MOMENTUM = 0.95

# what keras.applications' pretrained weights expect, as (scale, offset) per channel of gray 0..255 repeated to three
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red green blue, in 0..1
RANGES = {
    "unit": (1 / 127.5, -1.0),
    "imagenet": ([1 / (255 * d) for d in DEVIATION], [-m / d for m, d in zip(MEAN, DEVIATION)]),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),  # ImageNet's means of blue, green, red, not scaled
    "none": (1.0, 0.0),  # the network scales by itself
}


def gray_input(size: int) -> keras.KerasTensor:
    """(batch, size, size, 1), gray 0..255."""
    return keras.Input((size, size, 1), name="gray")


def normalised(gray, range: str = "unit", channels: int = 3):
    """Gray 0..255 to what a backbone expects (`RANGES`), repeated over `channels`."""
    scale, offset = RANGES[range]
    repeated = gray if channels == 1 else keras.layers.Concatenate(name="gray_to_channels")([gray] * channels)
    return keras.layers.Rescaling(scale, offset=offset, name="normalised")(repeated)


def set_batch_norm_momentum(model: keras.Model, momentum: float = BATCH_NORM_MOMENTUM) -> None:
    """Set it on every batch normalisation of a model that is not compiled yet."""
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Every layer that is not a model itself, those of models inside the model too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer
