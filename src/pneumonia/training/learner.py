"""A family's network with its losses and optimizer, as a Keras model that `fit` can train."""

import contextlib

import keras
import numpy as np

from pneumonia import schema
from pneumonia.data.samples import Samples
from pneumonia.models.family import Family
from pneumonia.models.keras_private import fused_batch_norm
from pneumonia.runs.precision import on_gpu, scale_for_devices, uses_xla
from pneumonia.training.batches import Batches
from pneumonia.training.schedules import optimizer_of


class Learner(keras.Model):
    """A family's network with the family's losses and metrics, each tracked under its name as a mean over images."""

    def __init__(self, network: keras.Model, family: Family, names: list[str], is_compiled: bool = False):
        """names: of the losses and metrics. is_compiled: by XLA, which fuses operations by itself."""
        super().__init__(name="learner")
        self.network, self.family = network, family
        self.fuses_batch_norm = keras.backend.backend() == "tensorflow" and not is_compiled and not on_gpu()
        self.means = {name: keras.metrics.Mean(name=name) for name in names}

    def call(self, images, training=None):
        with fused_batch_norm() if self.fuses_batch_norm else contextlib.nullcontext():
            return self.network(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses, images = self.family.losses(y, y_pred), keras.ops.shape(keras.tree.flatten(x)[0])[0]
        for name, value in (losses | self.family.metrics(y, y_pred)).items():
            self.means[name].update_state(value, sample_weight=images)
        return scale_for_devices(sum(losses.values()))

    @property
    def metrics(self):
        return [*super().metrics, *self.means.values()]


def compile_learner(
    experiment: schema.Experiment, family: Family, network: keras.Model, samples: Samples, steps: int, stage
) -> Learner:
    """Return a compiled learner for a stage (loop.Stage), with all variables built, so that a checkpoint can be loaded.

    Args:
        steps: per epoch.
    """
    if experiment.model.frozen_epochs or experiment.model.frozen_stride:
        family.freeze(network, stage.frozen)
    inputs, targets = Batches(samples, np.arange(min(2, len(samples))), 2, family, "none", [0])[0]
    targets, outputs = as_tensors(targets), network(inputs, training=False)
    names = [*family.losses(targets, outputs), *family.metrics(targets, outputs)]
    learner = Learner(network, family, names, uses_xla(experiment))
    shapes = {name: (None, *value.shape[1:]) for name, value in inputs.items()} if isinstance(inputs, dict) else None
    learner.build(shapes or (None, *inputs.shape[1:]))
    learner.compile(
        optimizer=optimizer_of(experiment, steps * (stage.end - stage.start)), jit_compile=uses_xla(experiment)
    )
    learner.optimizer.build(learner.trainable_variables)
    return learner


def as_tensors(arrays: dict[str, np.ndarray]) -> dict:
    return {name: keras.ops.convert_to_tensor(value) for name, value in arrays.items()}
