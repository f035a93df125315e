"""Which settings each family of models uses: one that it does not use would silently do nothing, and is refused."""

import dataclasses

from pneumonia import schema
from pneumonia.system.errors import BadInput, Fault, bad_input

START = {"name", "weights", "weights_folder", "weights_sha256", "frozen_epochs"}
HEAD = {"head", "inputs", "dropout"}
BACKBONE = START | HEAD | {"pooling", "cell_loss"}
MASKS = {"mask_losses", "mask_softness", "mask_threshold", "min_area", "mask_fit"}
YOLO = {"size", "class_loss", "distribution_loss", "class_prior", "image_loss", "dropout"}

LOCALIZERS = {
    "box_regressor": START | {"alpha"},
    "mobilenet_unet": START | MASKS | {"alpha"},
    "segmentation_unet": START | MASKS | {"encoder"},
    "yolov8": START | YOLO,
}
PLAIN = {"fcnn": {"name"} | HEAD, "cnn": {"name"} | HEAD}  # nothing to start from, and no backbone to freeze


def used(name: str) -> set[str]:
    """Fields of schema.Model that the family of this name reads; of an unknown name those of any backbone."""
    widths = {"alpha"} if name.startswith("mobilenet") else set()  # keras.applications' only ones with a width
    return {**LOCALIZERS, **PLAIN}.get(name, BACKBONE | widths)


def check_used(experiment: schema.Experiment) -> None:
    """Raises BadInput for every setting of `model` or `loss` that is not at its default and that nothing would read."""
    model, faults = experiment.model, list[Fault]()
    known = used(model.name)
    for field in dataclasses.fields(schema.Model):
        value = getattr(model, field.name)
        if field.name not in known and value != getattr(schema.Model(), field.name):
            fix = "leave it out, or correct model.name"
            faults += bad_input(f"model.{field.name}", f"{model.name} does not use it", fix).faults
    if model.name in LOCALIZERS and experiment.loss != schema.Loss():
        faults += bad_input("loss", f"is a classifier's; {model.name} has its own", "leave it out").faults
    elif experiment.loss.name == "cross_entropy" and experiment.loss.gamma != schema.Loss().gamma:
        fix = f"set loss.name=focal, or loss.gamma={schema.Loss().gamma:g}"
        faults += bad_input("loss.gamma", "is focal's; cross_entropy does not use it", fix).faults
    if faults:
        raise BadInput(faults)
