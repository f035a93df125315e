"""Whole-image classifiers: opacity or not, or the three classes of the competition's second table."""

from abc import abstractmethod

import keras
import numpy as np
from keras import ops

from pneumonia.errors import bad_input
from pneumonia.models.family import Family
from pneumonia.models.masks import filled
from pneumonia.models.normalisation import gray_input, set_batch_norm_momentum, to_unit_range

OUTPUTS = {"binary": 1, "classes": 3}
STRIDE = 32  # pixels per cell of the backbones' last feature map


class Classifier(Family):
    """A backbone, global average pooling, dropout, one dense layer. Subclasses say which backbone."""

    kind = "classifier"

    @abstractmethod
    def backbone(self) -> keras.Model:
        """(batch, size, size, 3) in [-1, 1] to (batch, h, w, features)."""

    def build(self) -> keras.Model:
        if self.model.head not in OUTPUTS:
            raise bad_input("model.head", f"unknown head '{self.model.head}'", f"known: {', '.join(OUTPUTS)}")
        gray = gray_input(self.image_size)
        backbone = self.backbone()
        set_batch_norm_momentum(backbone)
        feature_map = backbone(to_unit_range(gray))
        features, outputs = [pooled(feature_map, self.model.pooling)], {}
        if self.model.cell_loss > 0:
            cells = keras.layers.Conv2D(1, 1, dtype="float32", name="cells")(feature_map)
            outputs["cells"] = cells
            # a short way from what the cells have learned to the image's answer
            features += [keras.layers.GlobalMaxPooling2D()(cells), keras.layers.GlobalAveragePooling2D()(cells)]
            features = [keras.layers.Concatenate(name="features")(features)]
        features = keras.layers.Dropout(self.model.dropout, name="dropout")(features[0])
        outputs["logits"] = keras.layers.Dense(OUTPUTS[self.model.head], dtype="float32", name="logits")(features)
        return keras.Model(gray, outputs, name=self.model.name)

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        found = {"classes": np.asarray(classes, dtype=np.int32)}
        if self.model.cell_loss > 0:
            cells = -(-self.image_size // STRIDE)
            found["cells"] = np.stack([filled(each, self.image_size, cells) for each in boxes])[..., None]
        return found

    def losses(self, targets: dict, outputs: dict) -> dict:
        """Cross-entropy of the image, and where `cell_loss` is set that of the feature map's cells with the share of
        each that boxes cover: an image has one label, but dozens of cells, and a network that starts from nothing
        learns from them what an opacity looks like."""
        logits, classes = outputs["logits"], targets["classes"]
        if self.model.head == "classes":
            each = keras.losses.sparse_categorical_crossentropy(classes, logits, from_logits=True)
        else:
            opacity = ops.cast(classes == 2, "float32")[:, None]
            each = keras.losses.binary_crossentropy(opacity, logits, from_logits=True)
        found = {"cross_entropy": ops.mean(each)}
        if self.model.cell_loss > 0:
            cells = keras.losses.binary_crossentropy(targets["cells"], outputs["cells"], from_logits=True)
            found["cells"] = self.model.cell_loss * ops.mean(cells)
        return found

    def decode(self, outputs: dict[str, np.ndarray]) -> np.ndarray:
        logits = np.asarray(outputs["logits"], dtype=np.float64)
        if self.model.head == "binary":
            return 1.0 / (1.0 + np.exp(-logits))
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)


def pooled(features, pooling: str):
    """(batch, h, w, channels) to (batch, channels), or twice as many for `both`.

    The average asks how much of the image looks ill, the maximum whether any place does.

    Raises:
        BadInput: an unknown pooling.
    """
    ways = {
        "average": [keras.layers.GlobalAveragePooling2D(name="average")],
        "max": [keras.layers.GlobalMaxPooling2D(name="max")],
    }
    ways["both"] = ways["average"] + ways["max"]
    if pooling not in ways:
        raise bad_input("model.pooling", f"unknown pooling '{pooling}'", f"known: {', '.join(ways)}")
    made = [way(features) for way in ways[pooling]]
    return made[0] if len(made) == 1 else keras.layers.Concatenate(name="pooled")(made)


class MobileNetV2(Classifier):
    """Sandler et al., MobileNetV2, https://arxiv.org/abs/1801.04381; `alpha` multiplies its widths."""

    def backbone(self) -> keras.Model:
        shape = (self.image_size, self.image_size, 3)
        return keras.applications.MobileNetV2(shape, alpha=self.model.alpha, include_top=False, weights=None)
