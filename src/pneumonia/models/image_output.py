"""A localizer's second output: the class of the whole image (normal, not normal, opacity).

Second place of 2018 trained its detector with such an output beside it (https://arxiv.org/abs/2005.13899): the backbone
then also learns from images without a box. Its probabilities are a table of their own, which gates the ensemble's boxes
as a classifier does.
"""

import keras
import numpy as np
from keras import ops

from pneumonia.data.labels import CLASSES
from pneumonia.decoding.classes import IMAGE_LOGITS, ImageClassDecoder
from pneumonia.models.family import Family


class LocalizerWithImageOutput(ImageClassDecoder, Family):
    """A localizer that has the output where `model.image_loss`, the weight of its loss, is above 0."""

    def image_outputs(self, last_map, pyramid_maps: list) -> dict:
        """Return {"image_logits": (batch, 3)}; empty without this output.

        Args:
            last_map: the backbone's, (batch, h, w, channels).
            pyramid_maps: those that the boxes are predicted from, (batch, h, w, channels) each.
        """
        if not self.has_image_output:
            return {}
        maps = pyramid_maps if self.model.image_maps == "pyramid" else [last_map]
        return {IMAGE_LOGITS: image_logits(maps, len(CLASSES), self.model.dropout)}

    def image_targets(self, classes: np.ndarray) -> dict[str, np.ndarray]:
        return {"class": np.asarray(classes, np.int32)} if self.has_image_output else {}

    def image_losses(self, targets: dict, outputs: dict) -> dict:
        if not self.has_image_output:
            return {}
        return {"image": self.model.image_loss * image_cross_entropy(outputs[IMAGE_LOGITS], targets["class"])}


def image_logits(maps: list, classes: int, dropout: float):
    """Return (batch, classes) logits, from mean and maximum of (batch, h, w, channels) maps: findings are local."""
    pools = [
        pool(name=f"image_{name}_{position}")(feature_map)
        for position, feature_map in enumerate(maps)
        for name, pool in (
            ("average", keras.layers.GlobalAveragePooling2D),
            ("maximum", keras.layers.GlobalMaxPooling2D),
        )
    ]
    pooled = keras.layers.Dropout(dropout, name="image_dropout")(keras.layers.Concatenate(name="image_pooled")(pools))
    return keras.layers.Dense(classes, dtype="float32", name=IMAGE_LOGITS)(pooled)


def image_cross_entropy(logits, classes):
    """Return the mean softmax cross-entropy of (batch, classes) logits with (batch,) int classes."""
    targets = ops.one_hot(classes, logits.shape[-1], dtype="float32")
    return -ops.mean(ops.sum(targets * ops.log_softmax(logits, axis=-1), axis=-1))
