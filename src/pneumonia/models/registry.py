"""Which code builds which `model.name`. A family is imported only when it is asked for; its settings are a dataclass
of schema/models.py, under the same name."""

import dataclasses
import importlib

from pneumonia import schema
from pneumonia.models.family import Family
from pneumonia.schema.models import settings_of
from pneumonia.schema.relations import check_network

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
        BadInput: an unknown name, or what no network of this family can be.
    """
    settings_of(model.name)
    check_network(model, image_size, loss or schema.Loss())
    if not pretrained and model.weights != "none":
        model = dataclasses.replace(model, weights="none")
    module, name = FAMILIES.get(model.name, ANY_BACKBONE).split(":")
    return getattr(importlib.import_module(module), name)(model, image_size, loss)
