"""Checks between settings: those that contradict each other, and those that would have no effect."""

import math

from pneumonia.schema.experiment import Experiment, Loss, PseudoLabels, Sampling, Schedule
from pneumonia.schema.models import (
    Classifier,
    ImageOutput,
    Masks,
    Model,
    PlainClassifier,
    Pretrained,
    RetinaNet,
    UNet,
)
from pneumonia.system.errors import BadInput, Fault, bad_input, run_checks

SCHEDULES_USING = {
    "factor": ("plateau",),
    "patience": ("plateau",),
    "final": ("cosine", "plateau"),
    "warmup": ("cosine", "constant"),
}
UNUSED = {"warmup": 0}  # values beside the default that say the same as not to use a setting
DECODER_STRIDES = (16, 8, 4)  # of a U-Net's decoder
ANCHOR_RATIOS = 3  # of each RetinaNet anchor size
# pixels: keras.applications does not build these backbones below
SMALLEST_SIZES = {"xception": 71, "inceptionv3": 75, "inceptionresnetv2": 75}
# width multipliers for which keras.applications has ImageNet weights
WIDTHS = {
    "mobilenet": (0.25, 0.5, 0.75, 1.0),
    "mobilenetv2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "mobilenetv3small": (0.75, 1.0),
    "mobilenetv3large": (0.75, 1.0),
}
# A side of n pixels has ceil(n / 32) cells in the last feature map of these backbones, and floor(n / 32) in the others;
# Inception's has fewer.
CELLS_ROUNDED_UP = ("efficientnet", "mobilenetv2", "mobilenetv3", "nasnet", "resnet", "xception")
NO_CELLS = ("inception",)
BACKBONES = {"mobilenet_unet": "mobilenet", "box_regressor": "mobilenetv2", "chexnet": "densenet121"}
CLASSES = {"binary": 2, "classes": 3, "nih": 2}  # classes of a head that loss.class_weights weighs


def check_relations(experiment: Experiment, has_inner: bool) -> None:
    """Raises BadInput with all faults.

    Args:
        has_inner: whether there is an inner split, a part of the training images that only measures the loss.
    """
    run_checks(
        lambda: check_network(experiment.model, experiment.image_size, experiment.loss),
        lambda: check_schedule(experiment.schedule),
        lambda: check_sampling(experiment.sampling),
        lambda: check_pseudo_labels(experiment),
        lambda: check_stopping(experiment, has_inner),
        lambda: check_mixing(experiment),
    )


# ------------------------------------------------------------------ a network


def check_network(model: Model, image_size: int, loss: Loss) -> None:
    """Raises BadInput for a network that its family cannot build, and for a loss that it does not have."""
    faults = [*size_faults(model, image_size)]
    if isinstance(model, Pretrained):
        faults += weights_faults(model)
    if isinstance(model, PlainClassifier):
        faults += loss_faults(loss, CLASSES[model.head])
        faults += head_faults(model, loss)
    elif loss != Loss():
        faults += bad_input("loss", f"is for classifiers; {model.name} has its own", "leave it out").faults
    if isinstance(model, Classifier) and model.cell_loss > 0:
        faults += cells_faults(model, image_size)
    if isinstance(model, Masks) and not any(model.mask_losses.values()):
        faults += bad_input("model.mask_losses", "no loss has a weight", "give one to cross_entropy or dice").faults
    if isinstance(model, UNet) and len(model.decoder) != len(DECODER_STRIDES):
        what, fix = f"has {len(model.decoder)} numbers", "write three, for the strides 16, 8 and 4"
        faults += bad_input("model.decoder", what, fix).faults
    if isinstance(model, RetinaNet):
        faults += anchor_faults(model)
    if isinstance(model, ImageOutput) and model.image_loss == 0:
        faults += unused_faults(model, ("image_maps", "dropout"), "set model.image_loss above 0")
    if faults:
        raise BadInput(faults)


def size_faults(model: Model, image_size: int) -> list[Fault]:
    smallest = SMALLEST_SIZES.get(model.name, 1)
    if image_size < smallest:
        what = f"{image_size} is too small for {model.name}"
        return bad_input("image_size", what, f"choose {smallest} or more").faults
    if image_size % model.multiple_of:
        fix = f"choose a multiple of {model.multiple_of}"
        return bad_input("image_size", f"{image_size} is not a size for {model.name}", fix).faults
    return []


def weights_faults(model: Pretrained) -> list[Fault]:
    if not model.weights:
        return bad_input("model.weights", "is empty", "set none, imagenet, run:NAME, or a FILE").faults
    backbone = backbone_of(model)
    weights = (*(("imagenet",) if backbone else ()), *(("chexnet",) if backbone == "densenet121" else ()))
    if model.weights in ("imagenet", "chexnet") and model.weights not in weights:
        what = f"there are no {model.weights} weights for {backbone or f'the own backbone of {model.name}'}"
        fix = "set none, run:NAME, or a FILE"
        return bad_input("model.weights", what, fix).faults
    alpha, widths = getattr(model, "alpha", 1.0), WIDTHS.get(backbone, (1.0,))
    if model.weights == "imagenet" and alpha not in widths:
        fix = f"choose {', '.join(f'{width:g}' for width in widths)}, or model.weights=none"
        return bad_input("model.alpha", f"there are no imagenet weights at {alpha:g}", fix).faults
    return []


def anchor_faults(model: RetinaNet) -> list[Fault]:
    if not model.anchor_ratios:
        return unused_faults(model, ("anchor_scale",), "give model.anchor_ratios too; without, both are fitted")
    if len(model.anchor_ratios) != ANCHOR_RATIOS:
        what = f"has {len(model.anchor_ratios)} numbers"
        return bad_input("model.anchor_ratios", what, f"write {ANCHOR_RATIOS}, or [] to fit them").faults
    return []


def unused_faults(model: Model, keys: tuple[str, ...], fix: str) -> list[Fault]:
    """Faults of settings that have no effect and are not at their defaults."""
    default = type(model)(name=model.name)
    changed = [key for key in keys if getattr(model, key) != getattr(default, key)]
    return [fault for key in changed for fault in bad_input(f"model.{key}", "has no effect", fix).faults]


def backbone_of(model: Model) -> str:
    """The name of a model's backbone in the lists of schema/models.py; empty for YOLOv8's own."""
    chosen = getattr(model, "backbone", None) or getattr(model, "encoder", None)
    return chosen or {"yolov8": ""}.get(model.name, BACKBONES.get(model.name, model.name))


def cells_faults(model: Classifier, image_size: int) -> list[Fault]:
    if model.name.startswith(NO_CELLS):
        what = f"{model.name} has no feature map with a cell for every 32 pixels"
        return bad_input("model.cell_loss", what, "set it to 0").faults
    if image_size % 32 and not model.name.startswith(CELLS_ROUNDED_UP):
        what = f"{model.name} at {image_size} px has no feature map with a cell for every 32 pixels"
        return bad_input("model.cell_loss", what, "set it to 0, or choose a multiple of 32").faults
    return []


def head_faults(model: PlainClassifier, loss: Loss) -> list[Fault]:
    faults = []
    if model.head == "nih" and (model.inputs or (isinstance(model, Classifier) and model.cell_loss > 0)):
        what, fix = "nih takes neither inputs nor cell_loss", "leave both at their defaults"
        faults += bad_input("model.head", what, fix).faults
    if model.head == "nih" and loss.class_weights == "balanced":
        what, fix = "balanced does not work for 14 labels", "write [negative, positive]"
        faults += bad_input("loss.class_weights", what, fix).faults
    return faults


def loss_faults(loss: Loss, n_classes: int) -> list[Fault]:
    """Faults of a classifier's loss; n_classes is 2 for a binary head."""
    faults = []
    if loss.name == "cross_entropy" and loss.gamma != Loss().gamma:
        fix = f"set loss.name=focal, or loss.gamma={Loss().gamma:g}"
        faults += bad_input("loss.gamma", "is for focal; cross_entropy does not use it", fix).faults
    weights = loss.class_weights
    if weights == "balanced" or weights == []:
        return faults
    if not isinstance(weights, list) or len(weights) != n_classes:
        fix = f"write balanced, or a list of {n_classes} numbers"
        faults += bad_input("loss.class_weights", f"'{weights}' does not fit {n_classes} classes", fix).faults
    elif not (all(0 <= weight < math.inf for weight in weights) and any(weights)):
        fix = "write numbers of 0 or more, one of them above 0"
        faults += bad_input("loss.class_weights", f"a network cannot learn with {weights}", fix).faults
    return faults


# ------------------------------------------------------------------ training


def check_schedule(schedule: Schedule) -> None:
    """Raises BadInput for settings that differ from their defaults and that a schedule of this name does not use."""
    faults, defaults = [], Schedule()
    for key, schedules in SCHEDULES_USING.items():
        default = getattr(defaults, key)
        if schedule.name not in schedules and getattr(schedule, key) not in (default, UNUSED.get(key, default)):
            what = f"the {schedule.name} schedule does not use it"
            fix = f"set it to {default:g}, or schedule.name={schedules[0]}"
            faults += bad_input(f"schedule.{key}", what, fix).faults
    if faults:
        raise BadInput(faults)


def check_sampling(sampling: Sampling) -> None:
    """Raises BadInput for hard negatives without an experiment to take them from, or without negatives in a batch."""
    if sampling.hard_negatives <= 0:
        if sampling.hard_from:
            fix = "set hard_negatives above 0, or leave hard_from out"
            raise bad_input("sampling.hard_from", "has no effect without sampling.hard_negatives", fix)
        return
    faults = []
    if not sampling.hard_from:
        what = "needs an experiment whose false positives are the hard negatives"
        fix = "set sampling.hard_from to an experiment trained with fold=all"
        faults += bad_input("sampling.hard_negatives", what, fix).faults
    if not 0 < sampling.positives < 1:
        what, fix = "needs positives and negatives in a batch", "set sampling.positives above 0 and below 1"
        faults += bad_input("sampling.hard_negatives", what, fix).faults
    if faults:
        raise BadInput(faults)


def check_pseudo_labels(experiment: Experiment) -> None:
    """Raises BadInput for pseudo-labels that contradict each other, have no effect, or do not fit the network."""
    pseudo = experiment.pseudo_labels
    if not pseudo.experiment and pseudo != PseudoLabels():
        fix = "set pseudo_labels.experiment, or leave pseudo_labels out"
        raise bad_input("pseudo_labels", "has no effect without an experiment to take them from", fix)
    faults = []
    if pseudo.max_negative >= pseudo.min_score:
        what = f"{pseudo.max_negative:g} is not below pseudo_labels.min_score={pseudo.min_score:g}"
        faults += bad_input("pseudo_labels.max_negative", what, "choose a lower one").faults
    if pseudo.experiment and experiment.model.head == "nih":
        what, fix = "has opacities, and model.head=nih learns other labels", "leave it out"
        faults += bad_input("pseudo_labels.experiment", what, fix).faults
    if pseudo.experiment and experiment.sampling.hard_negatives > 0:
        what, fix = "hard_from has no confidence in test images", "leave one of the two out"
        faults += bad_input("pseudo_labels.experiment", what, fix).faults
    if faults:
        raise BadInput(faults)


def check_mixing(experiment: Experiment) -> None:
    """Raises BadInput where a classifier is to learn from images that are made of several."""
    keys = [key for key in ("mosaic", "mixup") if getattr(experiment, key)]
    if keys and isinstance(experiment.model, PlainClassifier):
        raise bad_input(keys[0], f"is for localizers; {experiment.model.name} is a classifier", "set it to 0")


def needs_inner(experiment: Experiment) -> bool:
    return experiment.keep == "best" or experiment.patience > 0 or experiment.schedule.name == "plateau"


def check_stopping(experiment: Experiment, has_inner: bool) -> None:
    """Raises BadInput where a setting needs an inner split and there is none."""
    if needs_inner(experiment) and not has_inner:
        what = "keep=best, patience and the plateau schedule need an inner split, and there is none"
        raise bad_input("inner_val_fraction", what, "set it above 0")
