"""keras.applications as backbones, by name: feature extractors without their ImageNet head."""

import inspect
from collections.abc import Callable

import keras

from pneumonia import config, schema
from pneumonia.errors import bad_input
from pneumonia.models import pretrained

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
WIDTHS = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large")  # they take `alpha`


def constructors() -> dict[str, Callable]:
    """{lower-case name: constructor} of every backbone in keras.applications."""
    every = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name.lower(): constructor for name, constructor in every}


def backbone(model: schema.Model, name: str, image_size: int) -> tuple[keras.Model, str]:
    """A backbone (batch, size, size, 3) to (batch, h, w, features) with the weights that `model.weights` names, and
    the range of its input, a key of normalisation.RANGES.

    Raises:
        BadInput: an unknown name, or a size that the network refuses.
        BadSurroundings: its weights cannot be had.
    """
    known = constructors()
    if name not in known:
        mend = f"{config.nearest(name, list(known))} (known: {', '.join(known)})"
        raise bad_input("model.name", f"keras.applications has no '{name}'", mend)
    constructor = known[name]
    wanted = {"include_top": False, "input_shape": (image_size, image_size, 3)}
    if constructor.__name__ in WIDTHS:
        wanted["alpha"] = model.alpha
    try:
        if model.weights == "imagenet":
            with pretrained.from_folder(model):
                made = constructor(weights="imagenet", **wanted)
        else:
            made = constructor(weights=None, **wanted)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise bad_input(
            "model", f"{name} at {image_size} px: {reason}", "choose another image_size or alpha"
        ) from error
    if model.weights not in ("none", "imagenet"):
        pretrained.load(made, model)
    module = constructor.__module__.rpartition(".")[2]
    return made, RANGE_OF_MODULE.get(module, "unit")
