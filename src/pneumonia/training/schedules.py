"""Optimizers by name, with the learning rate over the steps and averaged weights inside the compiled step."""

import math

import keras
from keras import ops

from pneumonia import schema
from pneumonia.errors import bad_input


@keras.saving.register_keras_serializable(package="pneumonia")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise from 0 to `peak` over `warmup` steps, then constant, or a half cosine down to `final` at `steps`.

    Reference: Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983 (one cycle, without restarts).
    """

    def __init__(self, peak: float, steps: int, warmup: int, final: float, cosine: bool):
        self.peak, self.steps, self.warmup, self.final, self.cosine = peak, steps, warmup, final, cosine

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = (step + 1.0) / max(1, self.warmup)
        through = ops.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0.0, 1.0)
        fall = 1.0
        if self.cosine:
            fall = self.final + (1.0 - self.final) * 0.5 * (1.0 + ops.cos(math.pi * through))
        return self.peak * ops.minimum(rise, fall)

    def get_config(self) -> dict:
        return {
            "peak": self.peak, "steps": self.steps, "warmup": self.warmup, "final": self.final, "cosine": self.cosine
        }  # fmt: skip


class AveragedWeights:
    """Keras's own moving average of the weights, but never written over the model by `fit`.

    Keras overwrites the model with the averages whenever a `fit` ends; with one `fit` per epoch the next epoch would
    start from them. As optimizer variables the averages live in the compiled step and in every checkpoint.
    """

    def finalize_variable_values(self, variables):
        pass

    def averages(self) -> list[keras.Variable]:
        """Averages of the trainable variables, in their order; empty where no average is kept."""
        return self._model_variables_moving_average if self.use_ema else []


class AdamW(AveragedWeights, keras.optimizers.AdamW):
    pass


class SGD(AveragedWeights, keras.optimizers.SGD):
    pass


def optimizer(experiment: schema.Experiment, steps: int) -> AdamW | SGD:
    """The experiment's optimizer for a training of `steps` steps.

    Raises:
        BadInput: an unknown optimizer or schedule.
    """
    wanted, schedule = experiment.optimizer, experiment.schedule
    if schedule.name not in ("cosine", "constant"):
        raise bad_input("schedule.name", f"unknown schedule '{schedule.name}'", "known: cosine, constant")
    common = {
        "learning_rate": WarmUp(
            wanted.rate, steps, round(schedule.warmup * steps), schedule.final, schedule.name == "cosine"
        ),
        "weight_decay": wanted.weight_decay or None,
        "global_clipnorm": wanted.clip_norm or None,
        "use_ema": experiment.ema > 0,
        "ema_momentum": experiment.ema or 0.99,
    }
    if wanted.name == "adamw":
        made = AdamW(**common)
        made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return made
    if wanted.name == "sgd":
        return SGD(momentum=0.9, nesterov=True, **common)
    raise bad_input("optimizer.name", f"unknown optimizer '{wanted.name}'", "known: adamw, sgd")
