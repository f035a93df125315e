"""The interface of a model: a family builds the network, its training targets and losses, and decodes its outputs.

A Family object belongs to one experiment. Training calls `build`, `targets` and `losses`, inference calls `decode`, the
same way for every family. Losses use keras.ops only, so that every Keras backend can run them.
"""

import copy
import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import keras
import numpy as np

from pneumonia import schema
from pneumonia.models.normalisation import all_layers
from pneumonia.system.errors import bad_input


class ImageBoxes(NamedTuple):
    """Boxes of one image.

    boxes: (n, 4) float64 x, y, width, height in the pixels of the model's input.
    scores: (n,) float64 confidence in [0, 1].
    """

    boxes: np.ndarray
    scores: np.ndarray


class Family(ABC):
    """One family of models, for one experiment's `model` settings and input size in pixels.

    The model's input is what the image cache holds: (batch, size, size, 1), gray 0..255, any integer or float type.
    Normalisation is part of the model, so that no caller can scale twice. Its outputs are a dict of float32 tensors.
    """

    kind: ClassVar[Literal["classifier", "localizer"]]

    person_inputs: tuple[str, ...] = ()  # other inputs than the image: age, sex, view

    def __init__(self, model: schema.Model, image_size: int, loss: schema.Loss | None = None):
        """Nothing is checked here: schema/ checks whether these settings and this size make a network."""
        self.model = model
        self.image_size = image_size
        self.loss = loss or schema.Loss()

    def fit_to_boxes(self, boxes: list[np.ndarray]) -> dict:
        """Return settings of `model` that follow from the training images' boxes; they are used in training and stay
        with the run.

        Args:
            boxes: for each image (n, 4) x, y, width, height in the pixels of the model's input.
        """
        return {}

    @abstractmethod
    def build(self) -> keras.Model:
        """Return a new network with randomly initialised or pretrained weights."""

    @abstractmethod
    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """Return the targets of a batch, which `losses` and `metrics` take.

        Args:
            boxes: for each image (n, 4) x, y, width, height in the pixels of the model's input.
            classes: (batch,) int: 0 normal, 1 not normal, 2 opacity.

        Returns:
            Arrays whose first axis is the batch; their shapes never depend on the number of boxes.
        """

    @abstractmethod
    def losses(self, targets: dict, outputs: dict) -> dict:
        """Return scalar tensors by name; training minimises their sum."""

    def metrics(self, targets: dict, outputs: dict) -> dict:
        """Return scalar tensors by name that are logged together with the losses."""
        return {}

    def freeze(self, network: keras.Model, frozen: bool) -> None:
        """Freeze the backbone, or make it trainable again. A backbone is a Keras model inside the network.

        Raises:
            BadInput: the network has no backbone.
        """
        backbones = [layer for layer in network.layers if isinstance(layer, keras.Model)]
        if not backbones:
            raise bad_input("model.frozen_epochs", f"{self.model.name} has no backbone to freeze", "set it to 0")
        for backbone in backbones:
            backbone.trainable = not frozen
            for layer in all_layers(backbone):
                layer.trainable = not (frozen or self.stays_frozen(layer))

    def stays_frozen(self, layer: keras.layers.Layer) -> bool:
        """Return whether a backbone's layer has weights to keep and a cell for every `model.frozen_stride` pixels or
        fewer. These layers have the largest maps and the most general features: they cost most and learn least."""
        if self.model.weights == "none" or not layer.weights:
            return False
        return layer.output.shape[1] * self.model.frozen_stride >= self.image_size

    @abstractmethod
    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes] | np.ndarray:
        """Decode a batch's outputs (NumPy arrays): a localizer returns one ImageBoxes per image, a classifier
        probabilities, (batch, 1) opacity, or (batch, 3) normal, not normal, opacity."""

    def decode_classes(self, outputs: dict[str, np.ndarray]) -> np.ndarray | None:
        """Return a localizer's probabilities of the whole image's class, (batch, 3), or None where it has none."""
        return None

    def decoders(self) -> list[dict]:
        """Return alternative settings of `model` for `decode`, the current ones first; inference/decoder.py chooses
        among them after training. Empty where there is nothing to choose."""
        return []

    def with_decoder(self, settings: dict) -> "Family":
        """Return a copy of the family that decodes with these settings of `model`."""
        other = copy.copy(self)
        other.model = dataclasses.replace(self.model, **settings)
        return other
