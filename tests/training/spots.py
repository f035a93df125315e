"""A data set of spots and a network of two layers: training in seconds."""

import keras
import numpy as np
from keras import ops

from pneumonia import config, schema
from pneumonia.data.samples import Samples
from pneumonia.models.family import Family

SIZE = 32  # the smallest that settings allow


def spot_samples(count: int = 48, seed: int = 0) -> Samples:
    """Positive images have a bright square, which is also their box."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 80, (count, SIZE, SIZE), dtype=np.uint8)
    classes = np.arange(count) % 3
    boxes = []
    for image, kind in zip(images, classes):
        if kind == 2:
            image[8:20, 10:24] += 150
        boxes.append(np.array([[10.0, 8, 14, 12]]) if kind == 2 else np.empty((0, 4)))
    return Samples(np.array([f"id-{i}" for i in range(count)]), images, boxes, classes)


class SpotClassifier(Family):
    """Two layers and a dropout, whose random state must survive an interruption too."""

    kind = "classifier"
    rate = 0.3

    def build(self):
        inputs = keras.Input((self.image_size, self.image_size, 1))
        hidden = keras.layers.Dense(16, "relu")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
        logit = keras.layers.Dense(1)(keras.layers.Dropout(self.rate)(hidden))
        return keras.Model(inputs, {"logit": logit})

    def targets(self, boxes, classes):
        return {"opacity": (classes == 2).astype(np.float32)[:, None]}

    def losses(self, targets, outputs):
        logit = ops.cast(outputs["logit"], "float32")
        return {"opacity": ops.mean(ops.softplus(logit) - targets["opacity"] * logit)}

    def decode(self, outputs):
        return 1 / (1 + np.exp(-outputs["logit"]))


class WithBackbone(SpotClassifier):
    """Its first layer is a model of its own, which can be frozen."""

    def build(self):
        inputs = keras.Input((self.image_size, self.image_size, 1))
        flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
        backbone_input = keras.Input(flat.shape[1:])
        backbone = keras.Model(backbone_input, keras.layers.Dense(8, "relu")(backbone_input), name="backbone")
        logit = keras.layers.Dense(1)(keras.layers.Dropout(0.3)(backbone(flat)))
        return keras.Model(inputs, {"logit": logit})


def experiment(**changes) -> schema.Experiment:
    """A small experiment, with the settings of a family whose backbone can be frozen."""
    tree = {"image_size": SIZE, "epochs": 4, "batch_size": 8, "ema": 0.8, "optimizer": {"learning_rate": 0.01}}
    tree |= {"model": {"name": "mobilenetv2", "weights": "none"}}
    return config.from_tree(schema.Experiment, config.merge(tree, changes), "test")


def weights(network) -> list[np.ndarray]:
    return [np.asarray(v.value) for v in network.variables]
