"""What a range or a list of choices cannot say: settings that contradict each other, or that would do nothing."""

import math

from pneumonia.schema.experiment import Experiment, Loss, Sampling, Schedule
from pneumonia.schema.models import Classifier, Masks, Model, PlainClassifier, Pretrained
from pneumonia.system.errors import BadInput, Fault, bad_input

SCHEDULES_THAT_READ = {"factor": ("plateau",), "patience": ("plateau",), "final": ("cosine", "plateau")}
# pixels: below these keras.applications refuses to build them
SMALLEST_SIZES = {"xception": 71, "inceptionv3": 75, "inceptionresnetv2": 75}
# of keras.applications: widths that ImageNet's weights exist for
WIDTHS = {
    "mobilenet": (0.25, 0.5, 0.75, 1.0),
    "mobilenetv2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "mobilenetv3small": (0.75, 1.0),
    "mobilenetv3large": (0.75, 1.0),
}
# whose last feature map has a cell for every 32 pixels begun, or else for every 32 full ones; Inception's has fewer
CELLS_ROUNDED_UP = ("efficientnet", "mobilenetv2", "mobilenetv3", "nasnet", "resnet", "xception")
NO_CELLS = ("inception",)
BACKBONES = {"mobilenet_unet": "mobilenet", "box_regressor": "mobilenetv2", "chexnet": "densenet121"}
CLASSES = {"binary": 2, "classes": 3, "nih": 2}  # of a head, to weigh


def check_relations(experiment: Experiment, has_inner: bool) -> None:
    """Raises BadInput: everything that is wrong.

    Args:
        has_inner: whether a part of the training images is set apart, whose loss is computed after every epoch.
    """
    faults = []
    for check in (
        lambda: check_network(experiment.model, experiment.image_size, experiment.loss),
        lambda: check_schedule(experiment.schedule),
        lambda: check_sampling(experiment.sampling),
        lambda: check_stopping(experiment, has_inner),
    ):
        try:
            check()
        except BadInput as error:
            faults += error.faults
    if faults:
        raise BadInput(faults)


# ------------------------------------------------------------------ a network


def check_network(model: Model, image_size: int, loss: Loss) -> None:
    """Raises BadInput for what no network of its family can be, and for a loss that it does not take."""
    faults = [*size_faults(model, image_size)]
    if isinstance(model, Pretrained):
        faults += weights_faults(model)
    if isinstance(model, PlainClassifier):
        faults += loss_faults(loss, CLASSES[model.head])
        faults += head_faults(model, loss)
    elif loss != Loss():
        faults += bad_input("loss", f"is a classifier's; {model.name} has its own", "leave it out").faults
    if isinstance(model, Classifier) and model.cell_loss > 0:
        faults += cells_faults(model, image_size)
    if isinstance(model, Masks) and not any(model.mask_losses.values()):
        faults += bad_input("model.mask_losses", "no loss has a weight", "give one to cross_entropy or dice").faults
    if faults:
        raise BadInput(faults)


def size_faults(model: Model, image_size: int) -> list[Fault]:
    smallest = SMALLEST_SIZES.get(model.name, 1)
    if image_size < smallest:
        what = f"{image_size} is too small for {model.name}"
        return bad_input("image_size", what, f"choose {smallest} or more").faults
    if image_size % model.multiple_of:
        fix = f"choose a multiple of {model.multiple_of}"
        return bad_input("image_size", f"{image_size} is no size for {model.name}", fix).faults
    return []


def weights_faults(model: Pretrained) -> list[Fault]:
    if not model.weights:
        return bad_input("model.weights", "names nothing", "set none, imagenet, run:EXPERIMENT, or a FILE").faults
    backbone = BACKBONES.get(model.name, model.name)
    published = (*model.published_weights, *(("chexnet",) if backbone == "densenet121" else ()))
    if model.weights in ("imagenet", "chexnet") and model.weights not in published:
        what, fix = f"there are no {model.weights} weights for {model.name}", "set none, run:EXPERIMENT, or a FILE"
        return bad_input("model.weights", what, fix).faults
    alpha, widths = getattr(model, "alpha", 1.0), WIDTHS.get(backbone, (1.0,))
    if model.weights == "imagenet" and alpha not in widths:
        fix = f"choose {', '.join(f'{width:g}' for width in widths)}, or model.weights=none"
        return bad_input("model.alpha", f"there are no imagenet weights at {alpha:g}", fix).faults
    return []


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
        what, fix = "14 labels have no common balance", "write [negative, positive]"
        faults += bad_input("loss.class_weights", what, fix).faults
    return faults


def loss_faults(loss: Loss, n_classes: int) -> list[Fault]:
    """n_classes: 2 for a binary head."""
    faults = []
    if loss.name == "cross_entropy" and loss.gamma != Loss().gamma:
        fix = f"set loss.name=focal, or loss.gamma={Loss().gamma:g}"
        faults += bad_input("loss.gamma", "is focal's; cross_entropy does not use it", fix).faults
    weights = loss.class_weights
    if weights == "balanced" or weights == []:
        return faults
    if not isinstance(weights, list) or len(weights) != n_classes:
        fix = f"write balanced, or a list of {n_classes} numbers"
        faults += bad_input("loss.class_weights", f"'{weights}' does not fit {n_classes} classes", fix).faults
    elif not (all(0 <= weight < math.inf for weight in weights) and any(weights)):
        fix = "write numbers of 0 or more, one of them above 0"
        faults += bad_input("loss.class_weights", f"nothing can be learned with {weights}", fix).faults
    return faults


# ------------------------------------------------------------------ training


def check_schedule(schedule: Schedule) -> None:
    """Raises BadInput for settings that are not at their defaults and that a schedule of this name does not read."""
    faults, defaults = [], Schedule()
    for key, readers in SCHEDULES_THAT_READ.items():
        default = getattr(defaults, key)
        if schedule.name not in readers and getattr(schedule, key) != default:
            what = f"the {schedule.name} schedule does not use it"
            fix = f"set it to {default:g}, or schedule.name={readers[0]}"
            faults += bad_input(f"schedule.{key}", what, fix).faults
    if faults:
        raise BadInput(faults)


def check_sampling(sampling: Sampling) -> None:
    """Raises BadInput for hard negatives that nothing names, or that no batch has room for."""
    if sampling.hard_negatives <= 0:
        if sampling.hard_from:
            fix = "set that above 0, or leave this out"
            raise bad_input("sampling.hard_from", "does nothing without sampling.hard_negatives", fix)
        return
    faults = []
    if not sampling.hard_from:
        what = "no experiment says which negatives are hard"
        fix = "set sampling.hard_from to one trained with fold=all"
        faults += bad_input("sampling.hard_negatives", what, fix).faults
    if not 0 < sampling.positives < 1:
        what, fix = "needs batches of both kinds", "set sampling.positives between 0 and 1"
        faults += bad_input("sampling.hard_negatives", what, fix).faults
    if faults:
        raise BadInput(faults)


def needs_inner(experiment: Experiment) -> bool:
    return experiment.keep == "best" or experiment.patience > 0 or experiment.schedule.name == "plateau"


def check_stopping(experiment: Experiment, has_inner: bool) -> None:
    """Raises BadInput where something is to be decided without an inner split."""
    if needs_inner(experiment) and not has_inner:
        what = "keep=best, patience and the plateau schedule look at an inner split, and there is none"
        raise bad_input("inner_val_fraction", what, "set it above 0")
