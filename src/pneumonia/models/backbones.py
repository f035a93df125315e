"""keras.applications as backbones, by name: feature extractors without their ImageNet head."""

import inspect
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from pneumonia import schema
from pneumonia.models import pretrained
from pneumonia.models.normalisation import DEVIATION
from pneumonia.system.errors import bad_input

# which of normalisation.RANGES the weights of a keras.applications module were trained with
RANGE_OF_MODULE = {
    "densenet": "imagenet",
    "resnet": "caffe",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "convnext": "none",
    "efficientnet": "none",
    "efficientnet_v2": "none",
    "mobilenet_v3": "none",
}


def constructors() -> dict[str, Callable]:
    """{lower-case name: constructor} of every backbone in keras.applications."""
    every = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name.lower(): constructor for name, constructor in every}


def backbone(model: schema.Model, name: str, image_size: int) -> tuple[keras.Model, str]:
    """A backbone (batch, size, size, 3) to (batch, h, w, features) with the weights that `model.weights` names, and
    the range of its input, a key of normalisation.RANGES. Which layers it has does not depend on the weights.

    Raises:
        BadInput: a size that the network refuses.
        EnvironmentFailure: its weights cannot be had.
    """
    constructor = constructors()[name]
    options = {"include_top": False, "input_shape": (image_size, image_size, 3)}
    if hasattr(model, "alpha"):
        options["alpha"] = model.alpha
    try:
        if model.weights == "imagenet":
            with pretrained.from_folder(model):
                network = constructor(weights="imagenet", **options)
        else:
            network = constructor(weights=None, **options)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise bad_input(
            "model", f"{name} at {image_size} px: {reason}", "choose another image_size or alpha"
        ) from error
    if model.weights not in ("none", "imagenet"):
        pretrained.load(network, model)
    module = constructor.__module__.rpartition(".")[2]
    if module == "efficientnet":
        network = with_own_stem(network)
    return network, RANGE_OF_MODULE.get(module, "unit")


class StemNormalization(keras.layers.Normalization):
    """(gray - mean) / deviation by the layer's variables.

    Keras's layer computes with copies of them, made when it is built or when a Keras file is loaded: what is assigned
    to the variables afterwards, as from a checkpoint, would change nothing.
    """

    def call(self, inputs):
        deviation = ops.maximum(ops.sqrt(self.adapt_variance), keras.config.epsilon())
        return (ops.cast(inputs, self.compute_dtype) - self.adapt_mean) / deviation


def with_own_stem(efficientnet: keras.Model) -> keras.Model:
    """The same function, and the same layers whatever the weights.

    Of EfficientNet, and of no other network, keras.applications makes another one for ImageNet's weights: these have
    the deviation where the normalisation's variance belongs, and a later rescaling corrects that. Here the
    variance is put right. So it is where a file of those weights is named by its path.
    """
    normalization = next(layer for layer in efficientnet.layers if isinstance(layer, keras.layers.Normalization))
    _, *later = (layer for layer in efficientnet.layers if isinstance(layer, keras.layers.Rescaling))

    def clone(layer):
        kind = StemNormalization if layer is normalization else type(layer)
        return kind.from_config(layer.get_config())

    def call(layer, inputs, **options):
        return inputs if layer.name in {each.name for each in later} else layer(inputs, **options)

    network = keras.models.clone_model(efficientnet, clone_function=clone, call_function=call)
    network.set_weights(efficientnet.get_weights())
    variance = network.get_layer(normalization.name).adapt_variance
    if later:
        variance.assign(variance / np.square(later[0].scale))
    elif np.allclose(variance, DEVIATION, atol=1e-4):
        variance.assign(np.square(DEVIATION))
    return network
