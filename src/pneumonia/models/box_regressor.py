"""The report's MobileNetV2 with two heads: one box, and whether there is any."""

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from pneumonia.models.backbones import backbone
from pneumonia.models.family import Family, ImageBoxes
from pneumonia.models.normalisation import gray_input, normalised, set_batch_norm_momentum

SMALLEST = 1.0  # pixels: side of a box whose predicted width or height is nothing


class BoxRegressor(Family):
    """Flatten and Dense(4) give the box, average pooling and Dense(1) the class; 2,341,189 parameters at 128 px, of
    which 83,205 learn while the backbone is frozen (`frozen_epochs=-1`).

    One box per image: x, y, width, height in units of the image's side. It is what the report has, kept to show what a
    detector without anchors or masks makes of images with two findings, or none.
    """

    kind = "localizer"

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        base, range = backbone(self.model, "mobilenetv2", self.image_size)
        if self.model.weights == "none":
            set_batch_norm_momentum(base)
        features = base(normalised(gray, range))
        # random first boxes would lie outside of the image as often as inside
        box = keras.layers.Dense(4, dtype="float32", kernel_initializer="zeros", bias_initializer=middle, name="box")
        pooled = keras.layers.GlobalAveragePooling2D(name="average")(features)
        outputs = {
            "box": box(keras.layers.Flatten(name="flat")(features)),
            "logits": keras.layers.Dense(1, dtype="float32", name="logits")(pooled),
        }
        network = keras.Model(gray, outputs, name=self.model.name)
        if self.model.frozen_epochs == -1:
            self.freeze(network, True)
        return network

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """The largest box of each image (zeros where there is none), and whether there is one (batch, 1)."""
        largest = np.zeros((len(boxes), 4), np.float32)
        for row, each in enumerate(boxes):
            if len(each):
                largest[row] = each[np.argmax(each[:, 2] * each[:, 3])] / self.image_size
        is_box = np.array([[len(each) > 0] for each in boxes], dtype=np.float32)
        return {"box": largest, "is_box": is_box}

    def losses(self, targets: dict, outputs: dict) -> dict:
        """Squared error of the box, mean over the images that have one, and cross-entropy of the class."""
        is_box, logits = targets["is_box"], outputs["logits"]
        error = ops.mean(ops.square(outputs["box"] - targets["box"]), axis=-1, keepdims=True)
        box = ops.sum(error * is_box) / ops.maximum(ops.sum(is_box), 1.0)
        return {"box": box, "cross_entropy": ops.mean(ops.softplus(logits) - is_box * logits)}

    def metrics(self, targets: dict, outputs: dict) -> dict:
        """Accuracy: the share of images on the right side of one half."""
        right = (outputs["logits"] > 0) == (targets["is_box"] > 0.5)
        return {"accuracy": ops.mean(ops.cast(right, "float32"))}

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        """Each image's box, cut to the image, with the class's probability as its confidence."""
        boxes = np.asarray(outputs["box"], dtype=np.float64) * self.image_size
        start = np.clip(boxes[:, :2], 0, self.image_size - SMALLEST)
        end = np.clip(boxes[:, :2] + boxes[:, 2:], start + SMALLEST, self.image_size)
        scores = expit(np.asarray(outputs["logits"], dtype=np.float64))
        return [
            ImageBoxes(box[None], score) for box, score in zip(np.concatenate([start, end - start], axis=1), scores)
        ]


def middle(shape, dtype=None):
    """A box over the middle of the image."""
    return ops.convert_to_tensor([0.25, 0.25, 0.5, 0.5], dtype=dtype)
