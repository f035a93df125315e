"""Names that an experiment's `model.name` takes. A family is imported only when it is asked for."""

import dataclasses
import importlib

from pneumonia import config, schema
from pneumonia.models.family import Family
from pneumonia.system.errors import bad_input

FAMILIES = {
    "chexnet": "pneumonia.models.classifiers:CheXNet",
    "fcnn": "pneumonia.models.plain_classifiers:FCNN",
    "cnn": "pneumonia.models.plain_classifiers:CNN",
    "box_regressor": "pneumonia.models.box_regressor:BoxRegressor",
    "mobilenet_unet": "pneumonia.models.unet:MobileNetUNet",
    "segmentation_unet": "pneumonia.models.segmentation_unet:SegmentationUNet",
    "yolov8": "pneumonia.models.yolo.family:YOLOv8",
}
ANY_BACKBONE = "pneumonia.models.classifiers:Application"  # a classifier on keras.applications' backbone of that name


def family(model: schema.Model, image_size: int, loss: schema.Loss | None = None, pretrained: bool = True) -> Family:
    """The family object of an experiment.

    Args:
        loss: of a classifier.
        pretrained: False where a run's own weights will be loaded: what it once started from is not needed then.

    Raises:
        BadInput: an unknown name; the known ones are listed.
    """
    if not pretrained:
        model = dataclasses.replace(model, weights="none")
    place = FAMILIES.get(model.name)
    if place is None:
        from pneumonia.models.backbones import constructors

        known = [*FAMILIES, *constructors()]
        if model.name not in known:
            fix = f"{config.nearest(model.name, known)} (known: {', '.join(known)})"
            raise bad_input("model.name", f"unknown model '{model.name}'", fix)
        place = ANY_BACKBONE
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)(model, image_size, loss)
