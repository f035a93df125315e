"""The report's MobileNet U-Net: boxes are predicted as a filled mask."""

import itertools

import keras
import numpy as np
from keras import ops

from pneumonia.models import masks
from pneumonia.models.family import Family, ImageBoxes
from pneumonia.models.normalisation import gray_input, set_batch_norm_momentum, to_unit_range

LEVELS = ("conv_pw_1_relu", "conv_pw_3_relu", "conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu")


@keras.saving.register_keras_serializable(package="pneumonia")
class PyramidProjection(keras.layers.Layer):
    """One 1 x 1 convolution over feature maps of falling resolution, each upsampled (nearest) to the first and
    concatenated, without ever making that concatenation.

    A 1 x 1 convolution is a sum over channels, so it may be taken level by level before upsampling: the same function
    and the same (channels of all levels + 1) parameters. At 224 px the concatenation would hold 1,984 channels of
    112 x 112, 100 MB for each image of a batch and as much again for its gradient.

    Input: list of (batch, h / 2^k, w / 2^k, channels_k), k = 0, 1, ... Output: (batch, h, w, 1).
    """

    def build(self, input_shape):
        channels = [shape[-1] for shape in input_shape]
        # fans of the whole convolution, as one Conv2D over the concatenation has them
        self.kernel = self.add_weight(name="kernel", shape=(sum(channels), 1), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")
        self.channels = channels

    def call(self, levels):
        ends = list(itertools.accumulate(self.channels))
        projected = None
        for level, start, end in reversed(list(zip(levels, [0, *ends], ends))):
            own = ops.matmul(level, self.kernel[start:end])
            if projected is not None:
                own = own + ops.repeat(ops.repeat(projected, 2, axis=1), 2, axis=2)
            projected = own
        return projected + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], 1)


class MobileNetUNet(Family):
    """MobileNet v1 whose conv_pw_13 output is upsampled and concatenated with conv_pw 11, 5, 3 and 1 in turn; one 1 x 1
    convolution makes the mask, at half the input's size. 3,230,849 parameters, as the report has it."""

    kind = "localizer"
    multiple_of = 32

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        shape = (self.image_size, self.image_size, 3)
        backbone = keras.applications.MobileNet(shape, alpha=self.model.alpha, include_top=False, weights=None)
        set_batch_norm_momentum(backbone)
        levels = keras.Model(backbone.input, [backbone.get_layer(name).output for name in LEVELS], name="mobilenet")
        logits = PyramidProjection(name="mask", dtype="float32")(levels(to_unit_range(gray)))
        return keras.Model(gray, {"logits": logits}, name=self.model.name)

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        half = self.image_size // 2
        return {"mask": np.stack([masks.filled(each, self.image_size, half) for each in boxes])[..., None]}

    def losses(self, targets: dict, outputs: dict) -> dict:
        """Cross-entropy over pixels, and 1 - Dice over the batch (images without boxes have no Dice of their own)."""
        mask, logits = targets["mask"], outputs["logits"]
        probability = ops.sigmoid(logits)
        cross_entropy = ops.mean(ops.maximum(logits, 0.0) - logits * mask + ops.log1p(ops.exp(-ops.abs(logits))))
        dice = (2.0 * ops.sum(mask * probability) + 1.0) / (ops.sum(mask) + ops.sum(probability) + 1.0)
        return {"cross_entropy": cross_entropy, "dice": 1.0 - dice}

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        probabilities = 1.0 / (1.0 + np.exp(-outputs["logits"][..., 0].astype(np.float64)))
        threshold, min_area = self.model.mask_threshold, self.model.min_area
        return [masks.components(each, self.image_size, threshold, min_area) for each in probabilities]
