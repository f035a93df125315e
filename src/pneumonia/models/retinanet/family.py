"""RetinaNet on any backbone, with anchors fitted to the training boxes: the detector of 2018's winners."""

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from pneumonia.models.backbones import build_pyramid
from pneumonia.models.detector import Detector
from pneumonia.models.family import ImageBoxes
from pneumonia.models.normalisation import gray_input, normalise
from pneumonia.models.retinanet import losses as objective
from pneumonia.models.retinanet.anchors import Shapes, fit, grid
from pneumonia.models.retinanet.network import BACKBONE_STRIDES, outputs_of, pyramid
from pneumonia.system.progress import say


class RetinaNet(Detector):
    """One class, opacity; nine anchors a cell of P3 to P7."""

    def fit_to_boxes(self, boxes: list[np.ndarray]) -> dict:
        if self.model.anchor_ratios:
            return {}
        shapes, mean_iou = fit(boxes, self.image_size)
        ratios = ", ".join(f"{ratio:g}" for ratio in shapes.ratios)
        text = f"anchors of {shapes.scale:g} strides, height / width {ratios}"
        say(f"retinanet: {text}; mean IoU of a true box with the nearest {mean_iou:.2f}")
        return {"anchor_scale": shapes.scale, "anchor_ratios": shapes.ratios}

    @property
    def anchors(self) -> np.ndarray:
        """(anchors, 4) corners in pixels."""
        ratios = self.model.anchor_ratios or fit([], self.image_size)[0].ratios
        return grid(self.image_size, Shapes(self.model.anchor_scale, ratios))

    def build(self) -> keras.Model:
        model, gray = self.model, gray_input(self.image_size)
        backbone, input_range = build_pyramid(model, model.backbone, self.image_size, BACKBONE_STRIDES)
        maps = backbone(normalise(gray, input_range))
        outputs = outputs_of(pyramid(maps, model.channels), model.head_depth, model.class_prior)
        return keras.Model(gray, outputs | self.image_outputs(maps[-1]), name="retinanet")

    def losses(self, targets: dict, outputs: dict) -> dict:
        anchors = ops.convert_to_tensor(self.anchors)
        losses = objective.losses(outputs["logits"], outputs["offsets"], anchors, targets["corners"], targets["is_box"])
        return losses | self.image_losses(targets, outputs)

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        anchors, scores = self.anchors, expit(outputs["logits"][..., 0].astype(np.float64))
        boxes_of_images = []
        for offsets, confidence in zip(outputs["offsets"], scores):
            rows = np.flatnonzero(confidence >= self.min_score)
            corners = ops.convert_to_numpy(objective.decode(offsets[rows], anchors[rows])).astype(np.float64)
            boxes_of_images.append(self.suppress(corners, confidence[rows]))
        return boxes_of_images
