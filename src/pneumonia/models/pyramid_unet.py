"""A U-Net on any backbone: maps at strides 32, 16, 8 and 4, a light decoder, a mask at a quarter of the size."""

import keras
import numpy as np

from pneumonia.models.backbones import build_pyramid
from pneumonia.models.image_output import LocalizerWithImageOutput
from pneumonia.models.normalisation import BATCH_NORM_MOMENTUM, gray_input, normalise
from pneumonia.models.unet import MaskFamily

STRIDES = (4, 8, 16, 32)


class PyramidUNet(MaskFamily, LocalizerWithImageOutput):
    """`model.backbone` with a decoder of `model.decoder` channels at strides 16, 8 and 4.

    Ronneberger et al., U-Net, https://arxiv.org/abs/1505.04597. The mask ends at stride 4: boxes are rectangles some
    fifty cells wide there, and finer maps would cost more than the backbone.
    """

    halvings = 2

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        backbone, input_range = build_pyramid(self.model, self.model.backbone, self.image_size, STRIDES)
        *finer, x = backbone(normalise(gray, input_range))
        last_map, decoded = x, []
        for channels, skip, stride in zip(self.model.decoder, reversed(finer), (16, 8, 4)):
            x = conv_block(x, channels, 1, f"decoder_{stride}_reduce")
            x = keras.layers.UpSampling2D(name=f"decoder_{stride}_up")(x)
            skip = conv_block(skip, channels, 1, f"decoder_{stride}_skip")
            x = keras.layers.Concatenate(name=f"decoder_{stride}_joined")([x, skip])
            x = conv_block(x, channels, 3, f"decoder_{stride}")
            decoded.append(x)
        logits = keras.layers.Conv2D(1, 1, dtype="float32", name="mask")(x)
        return keras.Model(gray, {"logits": logits} | self.image_outputs(last_map, decoded), name=self.model.name)

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        return super().targets(boxes, classes) | self.image_targets(classes)

    def losses(self, targets: dict, outputs: dict) -> dict:
        return super().losses(targets, outputs) | self.image_losses(targets, outputs)


def conv_block(x, channels: int, size: int, name: str):
    x = keras.layers.Conv2D(channels, size, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
