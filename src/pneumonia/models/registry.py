"""Make the family that `model.name` asks for. schema/models.py lists them all; only the chosen one is imported."""

import dataclasses
import importlib

from pneumonia import schema
from pneumonia.models.family import Family
from pneumonia.schema.models import ANY_BACKBONE, FAMILIES, settings_of
from pneumonia.schema.relations import check_network


def family(model: schema.Model, image_size: int, loss: schema.Loss | None = None, pretrained: bool = True) -> Family:
    """Return the family object of an experiment.

    Args:
        loss: of a classifier.
        pretrained: False where a run's own weights will be loaded: the weights that it started from are not needed.

    Raises:
        BadInput: an unknown name, or settings that this family cannot build a network from.
    """
    settings_of(model.name)
    check_network(model, image_size, loss or schema.Loss())
    if not pretrained and model.weights != "none":
        model = dataclasses.replace(model, weights="none")
    module, name = (FAMILIES[model.name].code if model.name in FAMILIES else ANY_BACKBONE).split(":")
    return getattr(importlib.import_module(module), name)(model, image_size, loss)
