"""Backbones by name, of keras.applications and keras-cv: feature extractors without their ImageNet head."""

import inspect
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from pneumonia import schema
from pneumonia.models import efficientnet_lite, pretrained
from pneumonia.models.normalisation import DEVIATION, set_batch_norm_momentum
from pneumonia.schema.models import EFFICIENTNET_LITE
from pneumonia.system.errors import bad_input

BACKBONE = "backbone"  # name of the backbone model inside a localizer's network

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
    """Build a backbone and load the weights that `model.weights` names.

    Args:
        name: one of schema.models.BACKBONES.

    Returns:
        The backbone, (batch, size, size, 3) to (batch, h, w, features), with the same layers for all weights; and the
        range of its input, a key of normalisation.RANGES.

    Raises:
        BadInput: the network does not accept this image size.
        EnvironmentFailure: its weights cannot be read or downloaded.
    """
    if name in EFFICIENTNET_LITE:
        network, input_range = efficientnet_lite.build(name, image_size), "lite"
        if model.weights == "imagenet":
            efficientnet_lite.load_imagenet(network, name, pretrained.weights_folder(model))
        elif model.weights != "none":
            pretrained.load(network, model)
    else:
        network, input_range = build_application(model, name, image_size)
    if model.weights == "none":
        set_batch_norm_momentum(network)
    return network, input_range


def build_pyramid(model: schema.Model, name: str, image_size: int, strides: Sequence[int]) -> tuple[keras.Model, str]:
    """Build a backbone with a feature map for each stride: the last that it computes at that size.

    Args:
        strides: pixels of the image per cell, ascending: 2, 4, 8, 16, 32.

    Returns:
        The backbone, named BACKBONE, (batch, size, size, 3) to a list of (batch, size / stride, size / stride,
        features); and the range of its input, as `build_backbone`.

    Raises:
        BadInput: the backbone has no map of one of these sizes.
        EnvironmentFailure: its weights cannot be read or downloaded.
    """
    network, input_range = build_backbone(model, name, image_size)
    last = {tuple(layer.output.shape[1:3]): layer.output for layer in network.layers if is_feature_map(layer)}
    maps = [last.get((image_size // stride, image_size // stride)) for stride in strides]
    if any(feature_map is None for feature_map in maps):
        missing = next(stride for stride, feature_map in zip(strides, maps) if feature_map is None)
        what = f"{name} at {image_size} px has no feature map with a cell for every {missing} pixels"
        raise bad_input("model.backbone", what, "choose another backbone, or a multiple of 32 pixels")
    return keras.Model(network.input, maps, name=BACKBONE), input_range


def is_feature_map(layer: keras.layers.Layer) -> bool:
    """Return whether a layer's output is (batch, h, w, channels) and not only the padding of one."""
    output = layer.output
    return not isinstance(output, list) and len(output.shape) == 4 and not isinstance(layer, keras.layers.ZeroPadding2D)


def build_application(model: schema.Model, name: str, image_size: int) -> tuple[keras.Model, str]:
    """Build a backbone of keras.applications, with ImageNet's weights where `model` asks for them."""
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
