"""What training and inference know of a model: a family builds it, makes its targets, its losses and its decoder.

A family's object belongs to one experiment. Training asks it for `build`, `targets` and `losses`, inference for
`decode`; neither knows which family it has. Everything differentiable is keras.ops, so any Keras backend runs it.
"""

import copy
import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import keras
import numpy as np

from pneumonia import schema
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

    person_inputs: tuple[str, ...] = ()  # what the network sees beside the image: age, sex, view

    def __init__(self, model: schema.Model, image_size: int, loss: schema.Loss | None = None):
        """What is given is taken as checked: schema/ says which settings and sizes make a network."""
        self.model = model
        self.image_size = image_size
        self.loss = loss or schema.Loss()

    @abstractmethod
    def build(self) -> keras.Model:
        """A new model with freshly initialised or pretrained weights."""

    @abstractmethod
    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """What the losses compare with, for a batch.

        Args:
            boxes: for each image (n, 4) x, y, width, height in the pixels of the model's input.
            classes: (batch,) int: 0 normal, 1 not normal, 2 opacity.

        Returns:
            Arrays whose first axis is the batch; their shapes never depend on the number of boxes.
        """

    @abstractmethod
    def losses(self, targets: dict, outputs: dict) -> dict:
        """Scalar tensors by name; what is minimised is their sum."""

    def metrics(self, targets: dict, outputs: dict) -> dict:
        """Scalar tensors by name that are shown beside the losses."""
        return {}

    def freeze(self, network: keras.Model, frozen: bool) -> None:
        """Let the backbone stand still, or learn again. A backbone is a model inside the network.

        Raises:
            BadInput: the network has none.
        """
        backbones = [layer for layer in network.layers if isinstance(layer, keras.Model)]
        if not backbones:
            raise bad_input("model.frozen_epochs", f"{self.model.name} has no backbone to freeze", "set it to 0")
        for backbone in backbones:
            backbone.trainable = not frozen

    @abstractmethod
    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes] | np.ndarray:
        """A batch's outputs as numpy, to one ImageBoxes per image (localizer), or to probabilities (classifier):
        (batch, 1) opacity, or (batch, 3) normal, not normal, opacity."""

    def decoders(self) -> list[dict]:
        """Settings of `model` with which `decode` might do better once the network is trained, its own first; none
        where there is nothing to choose. inference/decoder.py chooses."""
        return []

    def decoding_with(self, settings: dict) -> "Family":
        """The same family, decoding with these settings of `model`."""
        other = copy.copy(self)
        other.model = dataclasses.replace(self.model, **settings)
        return other
