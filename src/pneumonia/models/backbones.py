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
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name.lower(): constructor for name, constructor in functions}


def build_backbone(model: schema.Model, name: str, image_size: int) -> tuple[keras.Model, str]:
    """Build a backbone from keras.applications and load the weights that `model.weights` names.

    Returns:
        The backbone, (batch, size, size, 3) to (batch, h, w, features), with the same layers for all weights; and the
        range of its input, a key of normalisation.RANGES.

    Raises:
        BadInput: the network does not accept this image size.
        EnvironmentFailure: its weights cannot be read or downloaded.
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
        network = replace_stem(network)
    return network, RANGE_OF_MODULE.get(module, "unit")


class StemNormalization(keras.layers.Normalization):
    """Return (input - mean) / deviation, computed from the layer's variables.

    Keras's own layer computes with copies of its variables, which it makes when it is built or loaded from a Keras
    file. Values assigned later, for example from a checkpoint, would have no effect.
    """

    def call(self, inputs):
        deviation = ops.maximum(ops.sqrt(self.adapt_variance), keras.config.epsilon())
        return (ops.cast(inputs, self.compute_dtype) - self.adapt_mean) / deviation


def replace_stem(efficientnet: keras.Model) -> keras.Model:
    """Return an EfficientNet that computes the same and has the same layers for all weights.

    EfficientNet is the only network of keras.applications that has other layers for ImageNet's weights: these hold the
    deviation in place of the normalisation's variance, and an additional rescaling layer corrects it. Here the variance
    itself is corrected, also where `model.weights` is the path of a file with those weights.
    """
    normalization = next(layer for layer in efficientnet.layers if isinstance(layer, keras.layers.Normalization))
    _, *corrections = (layer for layer in efficientnet.layers if isinstance(layer, keras.layers.Rescaling))
    removed_names = {layer.name for layer in corrections}

    def clone(layer):
        layer_class = StemNormalization if layer is normalization else type(layer)
        return layer_class.from_config(layer.get_config())

    def call(layer, inputs, **options):
        return inputs if layer.name in removed_names else layer(inputs, **options)

    network = keras.models.clone_model(efficientnet, clone_function=clone, call_function=call)
    network.set_weights(efficientnet.get_weights())
    variance = network.get_layer(normalization.name).adapt_variance
    if corrections:
        variance.assign(variance / np.square(corrections[0].scale))
    elif np.allclose(variance, DEVIATION, atol=1e-4):
        variance.assign(np.square(DEVIATION))
    return network
