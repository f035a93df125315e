"""Optimizers by name, with a learning rate schedule and averaged weights inside the compiled step."""

import contextlib
import math
from collections.abc import Iterator

import keras
from keras import ops

from pneumonia import schema
from pneumonia.runs.checkpoint import array_of


@keras.saving.register_keras_serializable(package="pneumonia")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise from 0 to `peak` over `warmup` steps, then constant, or a half cosine to `final` x peak at `steps`.

    Reference: Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983 (one cycle, without restarts).
    """

    def __init__(self, peak: float, steps: int, warmup: int, final: float, cosine: bool):
        self.peak, self.steps, self.warmup, self.final, self.cosine = peak, steps, warmup, final, cosine

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = (step + 1.0) / max(1, self.warmup)
        progress = ops.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0.0, 1.0)
        fall = 1.0
        if self.cosine:
            fall = self.final + (1.0 - self.final) * 0.5 * (1.0 + ops.cos(math.pi * progress))
        return self.peak * ops.minimum(rise, fall)

    def get_config(self) -> dict:
        return {
            "peak": self.peak, "steps": self.steps, "warmup": self.warmup, "final": self.final, "cosine": self.cosine
        }  # fmt: skip


class AveragedWeights:
    """Keras's moving average of the weights, which does not overwrite the model's weights at the end of `fit`.

    Keras overwrites the model with the averages whenever a `fit` ends; with one `fit` per epoch the next epoch would
    start from them. As optimizer variables the averages are updated in the compiled step and saved in every checkpoint.
    keras.callbacks.SwapEMAWeights cannot be used: on TensorFlow it swaps by adding and subtracting, which rounds.
    """

    def finalize_variable_values(self, variables):
        pass

    def write_averages(self, variables: list[keras.Variable]) -> None:
        """Assign the averages to the trainable variables, if `use_ema` is set."""
        super().finalize_variable_values(variables)
        for variable in variables:
            variable.assign(array_of(variable))  # a copy: JAX shares the array, and the next step donates it


class AdamW(AveragedWeights, keras.optimizers.AdamW):
    pass


class Adam(AveragedWeights, keras.optimizers.Adam):
    pass


class SGD(AveragedWeights, keras.optimizers.SGD):
    pass


OPTIMIZERS = {"adamw": AdamW, "adam": Adam, "sgd": SGD}


def optimizer_of(experiment: schema.Experiment, steps: int) -> AveragedWeights:
    """Return the experiment's optimizer for a training of `steps` steps."""
    settings, accumulate = experiment.optimizer, max(1, experiment.optimizer.gradient_accumulation_steps)
    common = {
        "learning_rate": rate_of(experiment, max(1, steps // accumulate)),
        "weight_decay": settings.weight_decay or None,
        "global_clipnorm": settings.clip_norm or None,
        "use_ema": experiment.ema > 0,
        # Keras averages at every step, also at those that only accumulate gradients
        "ema_momentum": (experiment.ema or 0.99) ** (1 / accumulate),
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
    }
    if settings.name == "sgd":
        common |= {"momentum": 0.9, "nesterov": True}
    optimizer = OPTIMIZERS[settings.name](**common)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def rate_of(experiment: schema.Experiment, steps: int) -> WarmUp | float:
    """Return the learning rate schedule over `steps` updates; for the plateau a number, which the loop sets again
    before every epoch."""
    schedule, peak = experiment.schedule, experiment.optimizer.learning_rate
    if schedule.name == "plateau":
        return peak
    return WarmUp(peak, steps, round(schedule.warmup * steps), schedule.final, schedule.name == "cosine")


# ------------------------------------------------------------------ averaged weights


def assign_averages(learner: keras.Model) -> None:
    """Assign the averaged weights to a compiled model, if its optimizer has any."""
    optimizer = getattr(learner.optimizer, "inner_optimizer", learner.optimizer)  # float16 wraps it to scale the loss
    optimizer.write_averages(learner.trainable_variables)


@contextlib.contextmanager
def averaged_weights(learner: keras.Model) -> Iterator[None]:
    """Within this context the model has its averaged weights; afterwards the weights that training continues with."""
    before = [array_of(variable) for variable in learner.trainable_variables]
    assign_averages(learner)
    try:
        yield
    finally:
        for variable, value in zip(learner.trainable_variables, before):
            variable.assign(value)
