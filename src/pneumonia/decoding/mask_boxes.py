"""Boxes from the logits of a mask."""

import numpy as np
from scipy.special import expit

from pneumonia.decoding import masks
from pneumonia.decoding.classes import ImageClassDecoder
from pneumonia.decoding.decoder import Decoder, ImageBoxes

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # values of mask_threshold that are tried after training
MIN_AREAS = (0.001, 0.002, 0.004, 0.008, 0.016)  # values of min_area, shares of the image


class MaskDecoder(Decoder):
    """Of `logits` (batch, h, w, 1), square and no larger than the network's input."""

    kind = "localizer"

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        probabilities = expit(outputs["logits"][..., 0].astype(np.float64))
        settings = (self.model.mask_threshold, self.model.min_area, self.model.mask_softness)
        return [masks.components(mask, self.image_size, *settings) for mask in probabilities]

    def decoders(self) -> list[dict]:
        if not self.model.mask_fit:
            return []
        current = {"mask_threshold": self.model.mask_threshold, "min_area": self.model.min_area}
        grid = [{"mask_threshold": threshold, "min_area": area} for threshold in THRESHOLDS for area in MIN_AREAS]
        return [current, *(settings for settings in grid if settings != current)]


class MaskAndClassDecoder(MaskDecoder, ImageClassDecoder):
    """Also of `image_logits`, where the network has them."""
