"""The interface of a model: a family builds the network, its training targets and losses, and decodes its outputs.

A Family object belongs to one experiment. Training calls `build`, `targets` and `losses`, inference calls `decode`, the
same way for every family; the decoder, which needs no Keras, is its base class. Losses use keras.ops only, so that
every Keras backend can run them.
"""

from abc import abstractmethod

import keras
import numpy as np

from pneumonia import schema
from pneumonia.decoding.decoder import Decoder
from pneumonia.models.normalisation import all_layers
from pneumonia.system.errors import bad_input


class Family(Decoder):
    """One family of models, for one experiment's `model` settings and input size in pixels.

    The model's input is what the image cache holds: (batch, size, size, 1), gray 0..255, any integer or float type.
    Normalisation is part of the model, so that no caller can scale twice. Its outputs are a dict of float32 tensors.
    """

    def __init__(self, model: schema.Model, image_size: int, loss: schema.Loss | None = None):
        super().__init__(model, image_size)
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
