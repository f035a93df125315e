"""RetinaNet on any backbone, with anchors fitted to the training boxes: the detector of 2018's winners."""

import keras
import numpy as np
from keras import ops

from pneumonia.decoding.anchor_boxes import RetinaNetDecoder
from pneumonia.decoding.anchors import fit
from pneumonia.models.backbones import build_pyramid
from pneumonia.models.detector import Detector
from pneumonia.models.normalisation import gray_input, normalise
from pneumonia.models.retinanet import losses as objective
from pneumonia.models.retinanet.network import BACKBONE_STRIDES, outputs_of, pyramid
from pneumonia.system.progress import say


class RetinaNet(RetinaNetDecoder, Detector):
    """One class, opacity; nine anchors a cell of P3 to P7."""

    def fit_to_boxes(self, boxes: list[np.ndarray]) -> dict:
        if self.model.anchor_ratios:
            return {}
        shapes, mean_iou = fit(boxes, self.image_size)
        ratios = ", ".join(f"{ratio:g}" for ratio in shapes.ratios)
        text = f"anchors of {shapes.scale:g} strides, height / width {ratios}"
        say(f"retinanet: {text}; mean IoU of a true box with the nearest {mean_iou:.2f}")
        return {"anchor_scale": shapes.scale, "anchor_ratios": shapes.ratios}

    def build(self) -> keras.Model:
        model, gray = self.model, gray_input(self.image_size)
        backbone, input_range = build_pyramid(model, model.backbone, self.image_size, BACKBONE_STRIDES)
        maps = backbone(normalise(gray, input_range))
        levels = pyramid(maps, model.channels)
        outputs = outputs_of(levels, model.head_depth, model.class_prior)
        return keras.Model(gray, outputs | self.image_outputs(maps[-1], levels), name="retinanet")

    def losses(self, targets: dict, outputs: dict) -> dict:
        anchors = ops.convert_to_tensor(self.anchors)
        losses = objective.losses(outputs["logits"], outputs["offsets"], anchors, targets["corners"], targets["is_box"])
        return losses | self.image_losses(targets, outputs)
