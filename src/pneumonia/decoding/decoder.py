"""The interface of a decoder: it turns a network's outputs into boxes or probabilities, with NumPy and without Keras.

A family of models (models/family.py) is its decoder and the network; an exported network has only the decoder.
"""

import copy
import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from pneumonia import schema


class ImageBoxes(NamedTuple):
    """Boxes of one image.

    boxes: (n, 4) float64 x, y, width, height in the pixels of the model's input.
    scores: (n,) float64 confidence in [0, 1].
    """

    boxes: np.ndarray
    scores: np.ndarray


class Decoder(ABC):
    """The decoder of one experiment's `model` settings and input size in pixels."""

    kind: ClassVar[Literal["classifier", "localizer"]]

    person_inputs: tuple[str, ...] = ()  # other inputs of the network than the image: age, sex, view

    def __init__(self, model: schema.Model, image_size: int):
        """Nothing is checked here: schema/ checks whether these settings and this size make a network."""
        self.model = model
        self.image_size = image_size

    @abstractmethod
    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes] | np.ndarray:
        """Decode a batch's outputs: a localizer returns one ImageBoxes per image, a classifier probabilities,
        (batch, 1) opacity, or (batch, 3) normal, not normal, opacity."""

    def decode_classes(self, outputs: dict[str, np.ndarray]) -> np.ndarray | None:
        """Return a localizer's probabilities of the whole image's class, (batch, 3), or None where it has none."""
        return None

    def decoders(self) -> list[dict]:
        """Return alternative settings of `model` for `decode`, the current ones first; inference/decoder.py chooses
        among them after training. Empty where there is nothing to choose."""
        return []

    def with_decoder(self, settings: dict) -> "Decoder":
        """Return a copy that decodes with these settings of `model`."""
        other = copy.copy(self)
        other.model = dataclasses.replace(self.model, **settings)
        return other
