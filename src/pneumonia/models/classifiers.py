"""Image classifiers on a backbone: opacity or not, the competition's three classes, NIH's 14."""

from abc import abstractmethod

import keras
import numpy as np
from keras import ops

from pneumonia.data.labels import CLASSES
from pneumonia.data.person_features import width_of
from pneumonia.decoding.classes import ClassDecoder
from pneumonia.decoding.masks import rasterize
from pneumonia.models.backbones import build_backbone
from pneumonia.models.classifier_losses import cross_entropy_of_classes, cross_entropy_of_labels
from pneumonia.models.family import Family
from pneumonia.models.normalisation import gray_input, normalise
from pneumonia.system.errors import bad_input


class Classifier(ClassDecoder, Family):
    """A classifier of images and, with `model.inputs`, of the person's age, sex and view. A subclass is one network.

    Outputs: `logits` (batch, 1), (batch, 3) or (batch, 14), depending on `model.head`; with `cell_loss` also `cells`.
    """

    @property
    def cell_loss(self) -> float:
        """Weight of the cells' loss; 0 for the plain networks, whose settings do not have it."""
        return getattr(self.model, "cell_loss", 0.0)

    @abstractmethod
    def features(self, gray) -> tuple:
        """Return the features (batch, channels) of `gray` (batch, size, size, 1), and the network's last feature map
        (batch, h, w, channels), or None where it has none."""

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        features, feature_map = self.features(gray)
        parts, outputs = [features], {}
        if self.cell_loss > 0:
            if feature_map is None or feature_map.shape[1] != self.cells:
                what = f"{self.model.name} has no feature map of {self.cells} x {self.cells} cells"
                raise bad_input("model.cell_loss", what, "set it to 0")
            cells = keras.layers.Conv2D(1, 1, dtype="float32", name="cells")(feature_map)
            outputs["cells"] = cells
            # the image's logits see directly what the cells have learned
            parts += [keras.layers.GlobalMaxPooling2D()(cells), keras.layers.GlobalAveragePooling2D()(cells)]
        inputs = {"gray": gray}
        if self.person_inputs:
            person = keras.Input((width_of(self.person_inputs),), name="person")
            inputs["person"] = person
            parts.append(keras.layers.Dense(16, "relu", name="of_person")(person))
        joined = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)
        joined = keras.layers.Dropout(self.model.dropout, name="last_dropout")(joined)
        outputs["logits"] = keras.layers.Dense(len(self.label_set), dtype="float32", name="logits")(joined)
        return keras.Model(inputs if self.person_inputs else gray, outputs, name=self.model.name)

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        if self.model.head == "nih":
            return {"labels": np.asarray(classes, dtype=np.float32)}
        targets = {"classes": np.asarray(classes, dtype=np.int32)}
        if self.cell_loss > 0:
            masks = [rasterize(image_boxes, self.image_size, self.cells) for image_boxes in boxes]
            targets["cells"] = np.stack(masks)[..., None]
        return targets

    @property
    def cells(self) -> int:
        """Cells along a side of the last feature map."""
        return -(-self.image_size // 32)

    def losses(self, targets: dict, outputs: dict) -> dict:
        """Return the image's loss and, where `cell_loss` is set, the cross-entropy of the feature map's cells with the
        share of each cell that boxes cover. An image has one label but dozens of cells: from them a network without
        pretrained weights learns what an opacity looks like."""
        losses = {self.loss.name: self.image_loss(targets, outputs["logits"])}
        if self.cell_loss > 0:
            cells = keras.losses.binary_crossentropy(targets["cells"], outputs["cells"], from_logits=True)
            losses["cells"] = self.cell_loss * ops.mean(cells)
        return losses

    def image_loss(self, targets: dict, logits):
        if self.label_set.exclusive:
            return cross_entropy_of_classes(logits, targets["classes"], self.loss)
        return cross_entropy_of_labels(logits, self.labels(targets), self.loss)

    def labels(self, targets: dict):
        """Return (batch, labels) 0 or 1: NIH's fourteen labels, or opacity alone."""
        if self.model.head == "nih":
            return targets["labels"]
        return ops.cast(targets["classes"] == CLASSES.positive_index, "float32")[:, None]

    def metrics(self, targets: dict, outputs: dict) -> dict:
        """Return the accuracy: of the most probable class, or of each label at a probability of 0.5."""
        logits = outputs["logits"]
        if self.label_set.exclusive:
            is_correct = ops.cast(ops.argmax(logits, axis=-1), "int32") == ops.cast(targets["classes"], "int32")
        else:
            is_correct = (logits > 0) == (self.labels(targets) > 0.5)
        return {"accuracy": ops.mean(ops.cast(is_correct, "float32"))}


class Application(Classifier):
    """A backbone, named by `model.name`, then global pooling, dropout and one dense layer."""

    def features(self, gray) -> tuple:
        backbone, input_range = build_backbone(self.model, self.backbone_name, self.image_size)
        feature_map = backbone(normalise(gray, input_range))
        return pool(feature_map, self.model.pooling), feature_map

    @property
    def backbone_name(self) -> str:
        return self.model.name


class CheXNet(Application):
    """DenseNet121 that starts from CheXNet's weights, without CheXNet's 14-class head.

    Rajpurkar et al., CheXNet, https://arxiv.org/abs/1711.05225. With `weights=none` it is a plain DenseNet121.
    """

    backbone_name = "densenet121"


def pool(features, pooling: str):
    """Pool (batch, h, w, channels) to (batch, channels), or to twice as many channels for `both`.

    The average shows how much of the image looks abnormal, the maximum whether any part of it does.
    """
    pools = []
    if pooling in ("average", "both"):
        pools.append(keras.layers.GlobalAveragePooling2D(name="average")(features))
    if pooling in ("max", "both"):
        pools.append(keras.layers.GlobalMaxPooling2D(name="max")(features))
    return pools[0] if len(pools) == 1 else keras.layers.Concatenate(name="pooled")(pools)
