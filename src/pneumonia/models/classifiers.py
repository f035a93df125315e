"""Whole-image classifiers: opacity or not, or the three classes of the competition's second table."""

import keras
import numpy as np
from keras import ops

from pneumonia.errors import bad_input
from pneumonia.models.family import Family
from pneumonia.models.normalisation import gray_input, set_batch_norm_momentum, to_unit_range

OUTPUTS = {"binary": 1, "classes": 3}


class Classifier(Family):
    """A backbone, global average pooling, dropout, one dense layer. Subclasses say which backbone."""

    kind = "classifier"

    def backbone(self) -> keras.Model:
        """(batch, size, size, 3) in [-1, 1] to (batch, h, w, features)."""
        raise NotImplementedError

    def build(self) -> keras.Model:
        if self.model.head not in OUTPUTS:
            raise bad_input("model.head", f"unknown head '{self.model.head}'", f"known: {', '.join(OUTPUTS)}")
        gray = gray_input(self.image_size)
        backbone = self.backbone()
        set_batch_norm_momentum(backbone)
        features = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(to_unit_range(gray)))
        features = keras.layers.Dropout(self.model.dropout, name="dropout")(features)
        logits = keras.layers.Dense(OUTPUTS[self.model.head], dtype="float32", name="logits")(features)
        return keras.Model(gray, {"logits": logits}, name=self.model.name)

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        return {"classes": np.asarray(classes, dtype=np.int32)}

    def losses(self, targets: dict, outputs: dict) -> dict:
        logits, classes = outputs["logits"], targets["classes"]
        if self.model.head == "classes":
            each = keras.losses.sparse_categorical_crossentropy(classes, logits, from_logits=True)
            return {"cross_entropy": ops.mean(each)}
        opacity = ops.cast(classes == 2, "float32")[:, None]
        return {"cross_entropy": ops.mean(keras.losses.binary_crossentropy(opacity, logits, from_logits=True))}

    def decode(self, outputs: dict[str, np.ndarray]) -> np.ndarray:
        logits = np.asarray(outputs["logits"], dtype=np.float64)
        if self.model.head == "binary":
            return 1.0 / (1.0 + np.exp(-logits))
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)


class MobileNetV2(Classifier):
    """Sandler et al., MobileNetV2, https://arxiv.org/abs/1801.04381; `alpha` multiplies its widths."""

    def backbone(self) -> keras.Model:
        shape = (self.image_size, self.image_size, 3)
        return keras.applications.MobileNetV2(shape, alpha=self.model.alpha, include_top=False, weights=None)
