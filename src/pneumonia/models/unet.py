"""The report's MobileNet U-Net: boxes are predicted as a filled mask."""

import keras
import numpy as np
from keras import ops

from pneumonia.models import masks
from pneumonia.models.family import Family, ImageBoxes
from pneumonia.models.normalisation import gray_input, set_batch_norm_momentum, to_unit_range

SKIPS = ("conv_pw_11_relu", "conv_pw_5_relu", "conv_pw_3_relu", "conv_pw_1_relu")


class MobileNetUNet(Family):
    """MobileNet v1 whose conv_pw_13 output is upsampled and concatenated with conv_pw 11, 5, 3 and 1 in turn; one 1 x 1
    convolution makes the mask, at half the input's size. 3,230,849 parameters, as the report has it."""

    kind = "localizer"

    def build(self) -> keras.Model:
        gray = gray_input(self.image_size)
        shape = (self.image_size, self.image_size, 3)
        backbone = keras.applications.MobileNet(shape, alpha=self.model.alpha, include_top=False, weights=None)
        set_batch_norm_momentum(backbone)
        names = ("conv_pw_13_relu", *SKIPS)
        levels = keras.Model(backbone.input, [backbone.get_layer(name).output for name in names], name="mobilenet")
        features, *skips = levels(to_unit_range(gray))
        for skip in skips:
            features = keras.layers.UpSampling2D(2)(features)
            features = keras.layers.Concatenate()([features, skip])
        logits = keras.layers.Conv2D(1, 1, name="mask", dtype="float32")(features)
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
