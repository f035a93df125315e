"""The report's MobileNetV2 with two heads: one box, and whether the image has a box at all."""

import keras
import numpy as np
from keras import ops

from pneumonia.decoding.one_box import OneBoxDecoder
from pneumonia.models.backbones import build_backbone
from pneumonia.models.family import Family
from pneumonia.models.normalisation import gray_input, normalise


class BoxRegressor(OneBoxDecoder, Family):
    """Flatten and Dense(4) give the box, average pooling and Dense(1) the class; 2,341,189 parameters at 128 px, of
    which 83,205 are trained while the backbone is frozen (`frozen_epochs=-1`).

    It predicts one box per image: x, y, width, height in units of the image's side. The report has this network; it is
    here to show how a detector without anchors or masks handles images with two findings, or none.
    """

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        backbone, input_range = build_backbone(self.model, "mobilenetv2", self.image_size)
        features = backbone(normalise(gray, input_range))
        # randomly initialised boxes would often lie outside the image
        start = {"kernel_initializer": "zeros", "bias_initializer": central_box}
        box = keras.layers.Dense(4, dtype="float32", **start, name="box")
        pooled = keras.layers.GlobalAveragePooling2D(name="average")(features)
        outputs = {
            "box": box(keras.layers.Flatten(name="flat")(features)),
            "logits": keras.layers.Dense(1, dtype="float32", name="logits")(pooled),
        }
        return keras.Model(gray, outputs, name=self.model.name)

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """Return `box`, the largest box of each image (batch, 4), zeros where there is none, and `is_box` (batch, 1), 1
        where there is one."""
        largest = np.zeros((len(boxes), 4), np.float32)
        for row, image_boxes in enumerate(boxes):
            if len(image_boxes):
                largest[row] = image_boxes[np.argmax(image_boxes[:, 2] * image_boxes[:, 3])] / self.image_size
        is_box = np.array([[len(image_boxes) > 0] for image_boxes in boxes], dtype=np.float32)
        return {"box": largest, "is_box": is_box}

    def losses(self, targets: dict, outputs: dict) -> dict:
        """Return the squared error of the box, a mean over the images that have one, and the class's cross-entropy."""
        is_box, logits = targets["is_box"], outputs["logits"]
        error = ops.mean(ops.square(outputs["box"] - targets["box"]), axis=-1, keepdims=True)
        box = ops.sum(error * is_box) / ops.maximum(ops.sum(is_box), 1.0)
        return {"box": box, "cross_entropy": ops.mean(ops.softplus(logits) - is_box * logits)}

    def metrics(self, targets: dict, outputs: dict) -> dict:
        """Return the accuracy at a probability of 0.5."""
        is_correct = (outputs["logits"] > 0) == (targets["is_box"] > 0.5)
        return {"accuracy": ops.mean(ops.cast(is_correct, "float32"))}


def central_box(shape, dtype=None):
    """Initialise the box's bias to a box in the centre of the image."""
    return ops.convert_to_tensor([0.25, 0.25, 0.5, 0.5], dtype=dtype)
