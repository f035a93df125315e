"""Make the decoder that `model.name` asks for. schema/models.py lists them beside the families."""

import importlib

from pneumonia import schema
from pneumonia.decoding.decoder import Decoder
from pneumonia.schema.models import CLASS_DECODER, FAMILIES
from pneumonia.system.errors import bad_input


def decoder_of(model: schema.Model, image_size: int) -> Decoder:
    """Return the decoder of an experiment. Raises BadInput for a family that has none outside Keras."""
    code = FAMILIES[model.name].decoder if model.name in FAMILIES else CLASS_DECODER
    if not code:
        fix = "name its decoder in FAMILIES (src/pneumonia/schema/models.py), or predict with Keras"
        raise bad_input("model.name", f"{model.name} has no decoder of its own", fix)
    module, name = code.split(":")
    return getattr(importlib.import_module(module), name)(model, image_size)
