"""Input and normalisation layers of every network, and the momentum of its batch normalisation."""

from collections.abc import Iterator

import keras

# keras.applications uses 0.99 or 0.999: after the few hundred steps of a small data set the moving averages would still
# be close to their initial 0 and 1, and prediction would normalise differently from training.
BATCH_NORM_MOMENTUM = 0.95

# input ranges of the backbones' pretrained weights: (scale, offset) per channel, for gray 0..255 in each channel
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red green blue, in 0..1
RANGES = {
    "unit": (1 / 127.5, -1.0),
    "imagenet": ([1 / (255 * d) for d in DEVIATION], [-m / d for m, d in zip(MEAN, DEVIATION)]),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),  # ImageNet's means of blue, green, red, not scaled
    "lite": (1 / 128, -127 / 128),  # EfficientNet-Lite
    "none": (1.0, 0.0),  # the network has its own rescaling layer
}


def gray_input(size: int) -> keras.KerasTensor:
    """Return the input layer of gray images, (batch, size, size, 1), 0..255."""
    return keras.Input((size, size, 1), name="gray")


def normalise(gray, input_range: str = "unit", channels: int = 3):
    """Scale gray 0..255 to the range that a backbone expects (a key of RANGES), repeated over `channels`."""
    scale, offset = RANGES[input_range]
    repeated = gray if channels == 1 else keras.layers.Concatenate(name="gray_to_channels")([gray] * channels)
    return keras.layers.Rescaling(scale, offset=offset, name="normalised")(repeated)


def set_batch_norm_momentum(model: keras.layers.Layer, momentum: float = BATCH_NORM_MOMENTUM) -> None:
    """Set the momentum of every batch normalisation of a model, or of one layer, that is not compiled yet."""
    for layer in all_layers(model) if isinstance(model, keras.Model) else [model]:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of the models inside it, without those models themselves."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer
