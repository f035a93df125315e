"""The one box per image of the report's MobileNetV2."""

import numpy as np
from scipy.special import expit

from pneumonia.decoding.decoder import Decoder, ImageBoxes

MIN_SIDE = 1.0  # pixels: the network may predict a width or height of 0 or less


class OneBoxDecoder(Decoder):
    """Of `box` (batch, 4) x, y, width, height in units of the image's side, and `logits` (batch, 1)."""

    kind = "localizer"

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        """Return each image's box, clipped to the image, with the class's probability as its confidence."""
        boxes = np.asarray(outputs["box"], dtype=np.float64) * self.image_size
        start = np.clip(boxes[:, :2], 0, self.image_size - MIN_SIDE)
        end = np.clip(boxes[:, :2] + boxes[:, 2:], start + MIN_SIDE, self.image_size)
        scores = expit(np.asarray(outputs["logits"], dtype=np.float64))
        return [
            ImageBoxes(box[None], score) for box, score in zip(np.concatenate([start, end - start], axis=1), scores)
        ]
