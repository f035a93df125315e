"""Whether an experiment's settings make sense, before any DICOM is read for it."""

import math
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

from pneumonia import schema
from pneumonia.models.used import check_used
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.training.stopping import check_stopping


class Rule(NamedTuple):
    """allows: whether a value makes sense. meaning: which ones do."""

    allows: Callable[[float], bool]
    meaning: str


ONE_OR_MORE = Rule(lambda value: value >= 1, "1 or more")
ZERO_OR_MORE = Rule(lambda value: 0 <= value < math.inf, "0 or more")
ABOVE_ZERO = Rule(lambda value: 0 < value < math.inf, "a number above 0")
SHARE = Rule(lambda value: 0 <= value <= 1, "0 to 1")
BELOW_ONE = Rule(lambda value: 0 <= value < 1, "0 or more, and below 1")

RULES = {
    "image_size": Rule(lambda value: 32 <= value <= 4096, "32 to 4096 pixels"),
    "epochs": ONE_OR_MORE,
    "batch_size": ONE_OR_MORE,
    "model.frozen_epochs": Rule(lambda value: value >= -1, "a number of epochs, or -1 for all of them"),
    "model.dropout": BELOW_ONE,
    "model.alpha": ABOVE_ZERO,
    "model.cell_loss": ZERO_OR_MORE,
    "model.min_area": BELOW_ONE,
    "loss.gamma": ZERO_OR_MORE,
    "loss.label_smoothing": BELOW_ONE,
    "optimizer.learning_rate": ABOVE_ZERO,
    "optimizer.weight_decay": ZERO_OR_MORE,
    "optimizer.clip_norm": ZERO_OR_MORE,
    "optimizer.gradient_accumulation_steps": ONE_OR_MORE,
    "schedule.warmup": BELOW_ONE,
    "schedule.final": SHARE,
    "schedule.factor": SHARE,
    "schedule.patience": ONE_OR_MORE,
    "sampling.positives": SHARE,
    "sampling.images": ZERO_OR_MORE,
    "sampling.hard_negatives": SHARE,
    "ema": BELOW_ONE,
    "patience": ZERO_OR_MORE,
    "inner_val_fraction": BELOW_ONE,
    "max_boxes": ONE_OR_MORE,
    "min_score": SHARE,
    "loaders": ZERO_OR_MORE,
    "devices": ONE_OR_MORE,
    "threads": ZERO_OR_MORE,
}

# The modules that use these names refuse unknown ones too, but each of them imports Keras, which a process that trains
# nothing itself must not wake.
NAMES = {
    "optimizer.name": ("adamw", "adam", "sgd"),
    "schedule.name": ("cosine", "constant", "plateau"),
    "precision": ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    "xla": ("auto", "on", "off"),
}

SCHEDULES_THAT_READ = {
    "schedule.factor": ("plateau",),
    "schedule.patience": ("plateau",),
    "schedule.final": ("cosine", "plateau"),
}


def check_experiment(experiment: schema.Experiment, split: str = "") -> None:
    """Numbers within their ranges, known names, nothing that contradicts itself or would do nothing.

    Args:
        split: `report` where the student report's split is used: its own part is looked at in place of an inner split.

    Raises:
        BadInput: every setting that makes no sense, by the name that it has on the command line.
    """
    from pneumonia.data.augment import Augmentation
    from pneumonia.inference.tta import variants

    faults = []
    for name, rule in RULES.items():
        value = attrgetter(name)(experiment)
        if not rule.allows(value):
            faults += bad_input(name, f"{value:g} makes no sense", f"give {rule.meaning}").faults
    for name, known in NAMES.items():
        value = attrgetter(name)(experiment)
        if value not in known:
            faults += bad_input(name, f"unknown value '{value}'", f"known: {', '.join(known)}").faults
    for check in (
        lambda: variants(experiment.tta),
        lambda: Augmentation(experiment.augment),
        lambda: check_used(experiment),
        lambda: check_schedule(experiment.schedule),
        lambda: check_sampling(experiment.sampling),
        lambda: check_stopping(experiment, bool(split) or experiment.inner_val_fraction > 0),
    ):
        try:
            check()
        except BadInput as error:
            faults += error.faults
    if faults:
        raise BadInput(faults)


def check_schedule(schedule: schema.Schedule) -> None:
    """Raises BadInput for settings that are not at their defaults and that a schedule of this name does not read."""
    faults = []
    for name, readers in SCHEDULES_THAT_READ.items():
        key = name.removeprefix("schedule.")
        default = getattr(schema.Schedule(), key)
        if (
            schedule.name in NAMES["schedule.name"]
            and schedule.name not in readers
            and getattr(schedule, key) != default
        ):
            fix = f"set it to {default:g}, or schedule.name={readers[0]}"
            faults += bad_input(name, f"the {schedule.name} schedule does not use it", fix).faults
    if faults:
        raise BadInput(faults)


def check_sampling(sampling: schema.Sampling) -> None:
    """Raises BadInput for hard negatives that nothing names, or that no batch has room for."""
    if sampling.hard_negatives <= 0:
        if sampling.hard_from:
            fix = "set that above 0, or leave this out"
            raise bad_input("sampling.hard_from", "does nothing without sampling.hard_negatives", fix)
        return
    faults = []
    if not sampling.hard_from:
        what, fix = (
            "no experiment says which negatives are hard",
            "set sampling.hard_from to one trained with fold=all",
        )
        faults += bad_input("sampling.hard_negatives", what, fix).faults
    if not 0 < sampling.positives < 1:
        what, fix = "needs batches of both kinds", "set sampling.positives between 0 and 1"
        faults += bad_input("sampling.hard_negatives", what, fix).faults
    if faults:
        raise BadInput(faults)
