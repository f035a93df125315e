"""YOLOv8: keras-cv's network with our targets, losses and decoder."""

import cv2
import keras
import numpy as np
from keras import ops
from scipy.special import expit

from pneumonia.boxes import geometry
from pneumonia.data.labels import CLASSES
from pneumonia.models import pretrained
from pneumonia.models.family import Family, ImageBoxes
from pneumonia.models.yolo import losses as objective
from pneumonia.models.yolo.network import BACKBONE, anchor_points, build_network, expected_distances

MAX_TRUE_BOXES = 8  # per image; the competition's tables have at most 4
MAX_DECODED = 300  # boxes per image; max_boxes and min_score of the experiment limit them further


class YOLOv8(Family):
    """Sizes xs, s and m of keras-cv's YOLOv8, with one class: opacity.

    `model.image_loss` above 0 adds an output and a loss for the class of the whole image (normal, not normal, opacity),
    as the competition's second place had: the backbone then also learns from images without a box. `decode` does not
    use this output.
    """

    kind = "localizer"
    min_score = 0.001  # of a decoded box; boxes with lower scores never suppress boxes with higher ones
    suppression_iou = 0.45  # radiologists' boxes hardly overlap, but fusion profits from several boxes of a finding

    def build(self) -> keras.Model:
        model = self.model
        classes = len(CLASSES) if model.image_loss else 0
        network = build_network(model.size, self.image_size, model.class_prior, classes, model.dropout)
        if model.weights != "none":
            pretrained.load(network.get_layer(BACKBONE), model)
        return network

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """Return `corners` (batch, boxes, 4), the largest box first, padded with zeros to MAX_TRUE_BOXES; `is_box`
        (batch, boxes), 1 for a box, 0 for padding; with an image loss also `class` (batch,)."""
        corners = np.zeros((len(boxes), MAX_TRUE_BOXES, 4), np.float32)
        is_box = np.zeros((len(boxes), MAX_TRUE_BOXES), np.float32)
        for row, image_boxes in enumerate(boxes):
            order = np.argsort(-image_boxes[:, 2] * image_boxes[:, 3], kind="stable")
            largest = image_boxes[order][:MAX_TRUE_BOXES]
            corners[row, : len(largest)] = geometry.to_corners(largest)
            is_box[row, : len(largest)] = 1.0
        targets = {"corners": corners, "is_box": is_box}
        return targets | {"class": np.asarray(classes, np.int32)} if self.model.image_loss else targets

    def losses(self, targets: dict, outputs: dict) -> dict:
        points, strides = anchor_points(self.image_size)
        points, strides = ops.convert_to_tensor(points), ops.convert_to_tensor(strides)
        sides = expected_distances(outputs["distances"]) * strides[None, :, None]
        predicted = objective.from_distances(sides, points)
        losses = objective.losses(
            objective.Prediction(outputs["distances"], outputs["logits"], predicted),
            objective.Anchors(points, strides),
            targets["corners"],
            targets["is_box"],
            self.model.class_loss,
            self.model.distribution_loss,
        )
        if self.model.image_loss:
            image_loss = objective.image_cross_entropy(outputs["image_logits"], targets["class"])
            losses["image"] = self.model.image_loss * image_loss
        return losses

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        points, strides = anchor_points(self.image_size)
        scores = expit(outputs["logits"][..., 0].astype(np.float64))
        boxes_of_images = []
        for distances, confidence in zip(outputs["distances"], scores):
            rows = np.flatnonzero(confidence >= self.min_score)
            sides = ops.convert_to_numpy(expected_distances(distances[rows])) * strides[rows, None]
            corners = np.concatenate([points[rows] - sides[:, :2], points[rows] + sides[:, 2:]], axis=-1)
            boxes = geometry.to_xywh(np.clip(corners, 0, self.image_size))
            limits = self.min_score, self.suppression_iou
            order = cv2.dnn.NMSBoxes(boxes.tolist(), confidence[rows].tolist(), *limits)
            order = np.asarray(order, dtype=np.int64).reshape(-1)[:MAX_DECODED]
            boxes_of_images.append(ImageBoxes(boxes[order], confidence[rows][order]))
        return boxes_of_images
