"""What every network begins with, and what makes batch statistics usable after a short training."""

import keras

# keras.applications keeps 0.99 or 0.999 of the old batch statistics at every step: after the few hundred steps of a
# small data set those are still mostly the initial 0 and 1, and inference does not see what training saw.
BATCH_NORM_MOMENTUM = 0.95


def gray_input(size: int) -> keras.KerasTensor:
    """(batch, size, size, 1), gray 0..255."""
    return keras.Input((size, size, 1), name="gray")


def to_unit_range(gray, channels: int = 3):
    """Gray 0..255 to [-1, 1], as the MobileNets want it, repeated over `channels`."""
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="to_unit_range")(gray)
    if channels == 1:
        return scaled
    return keras.layers.Concatenate(name="gray_to_channels")([scaled] * channels)


def set_batch_norm_momentum(model: keras.Model, momentum: float = BATCH_NORM_MOMENTUM) -> None:
    """Set it on every batch normalisation of a model that is not compiled yet."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
