"""Networks that predict boxes as a mask, and the report's MobileNet U-Net, one of them."""

import itertools
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from pneumonia.decoding.mask_boxes import MaskDecoder
from pneumonia.decoding.masks import rasterize
from pneumonia.models import mask_losses
from pneumonia.models.backbones import build_backbone
from pneumonia.models.family import Family
from pneumonia.models.normalisation import gray_input, normalise

LEVELS = ("conv_pw_1_relu", "conv_pw_3_relu", "conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu")


@keras.saving.register_keras_serializable(package="pneumonia")
class PyramidProjection(keras.layers.Layer):
    """A 1 x 1 convolution over the concatenation of feature maps, each upsampled (nearest) to the size of the first.

    The concatenation is never built: a 1 x 1 convolution is a sum over channels, so that it can be computed level by
    level before upsampling, with the same result and the same (channels of all levels + 1) parameters. At 224 px the
    concatenation would hold 1,984 channels of 112 x 112, 100 MB for each image of a batch, and its gradient as much.

    Input: list of (batch, h / 2^k, w / 2^k, channels_k), k = 0, 1, ... Output: (batch, h, w, 1).
    """

    def build(self, input_shape):
        channels = [shape[-1] for shape in input_shape]
        # one kernel for all levels: the initialiser then uses the fan-in of the whole convolution
        self.kernel = self.add_weight(name="kernel", shape=(sum(channels), 1), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")
        self.channels = channels

    def call(self, levels):
        ends = list(itertools.accumulate(self.channels))
        total = None
        for level, start, end in reversed(list(zip(levels, [0, *ends], ends))):
            projection = ops.matmul(level, self.kernel[start:end])
            if total is not None:
                projection = projection + ops.repeat(ops.repeat(total, 2, axis=1), 2, axis=2)
            total = projection
        return total + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], 1)


class MaskFamily(MaskDecoder, Family):
    """A network whose output is the logits of a mask (batch, h, w, 1), square and no larger than its input."""

    halvings: ClassVar[int]  # of the input's size, to the mask's

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        size, softness = self.image_size >> self.halvings, self.model.mask_softness
        images = [rasterize(image_boxes, self.image_size, size, softness) for image_boxes in boxes]
        return {"mask": np.stack(images)[..., None]}

    def losses(self, targets: dict, outputs: dict) -> dict:
        return mask_losses.losses(targets["mask"], outputs["logits"], self.model.mask_losses)


class MobileNetUNet(MaskFamily):
    """MobileNet v1 whose conv_pw_13 output is upsampled and concatenated with conv_pw 11, 5, 3 and 1 in turn; a 1 x 1
    convolution gives the mask, at half the input's size. 3,230,849 parameters, as in the report."""

    halvings = 1

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        backbone, input_range = build_backbone(self.model, "mobilenet", self.image_size)
        levels = keras.Model(backbone.input, [backbone.get_layer(name).output for name in LEVELS], name="mobilenet")
        logits = PyramidProjection(name="mask", dtype="float32")(levels(normalise(gray, input_range)))
        return keras.Model(gray, {"logits": logits}, name=self.model.name)
