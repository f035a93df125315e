"""Names that an experiment's `model.name` takes. A family is imported only when it is asked for."""

import importlib

from pneumonia import config, schema
from pneumonia.errors import bad_input
from pneumonia.models.family import Family

FAMILIES = {
    "mobilenetv2": "pneumonia.models.classifiers:MobileNetV2",
    "mobilenet_unet": "pneumonia.models.unet:MobileNetUNet",
    "yolov8": "pneumonia.models.yolo.family:YOLOv8",
}


def family(model: schema.Model, image_size: int) -> Family:
    """The family object of an experiment.

    Raises:
        BadInput: an unknown name; the known ones are listed.
    """
    if model.name not in FAMILIES:
        mend = f"{config.nearest(model.name, list(FAMILIES))} (known: {', '.join(FAMILIES)})"
        raise bad_input("model.name", f"unknown model '{model.name}'", mend)
    module, name = FAMILIES[model.name].split(":")
    return getattr(importlib.import_module(module), name)(model, image_size)
