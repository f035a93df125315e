"""YOLOv8 with our targets, losses and decoder around keras-cv's network."""

import cv2
import keras
import numpy as np
from keras import ops

from pneumonia import boxes as geometry
from pneumonia.errors import bad_input
from pneumonia.models.family import Family, ImageBoxes
from pneumonia.models.yolo import losses as objective
from pneumonia.models.yolo.network import SIZES, anchor_points, build_network, expected_distances

MOST_BOXES = 8  # of one image; the competition's tables have at most 4
LOWEST_CONFIDENCE = 0.01  # what fusing may still use
SUPPRESSION_IOU = 0.45  # radiologists' boxes hardly overlap, but fusing wants the second opinion of a neighbour
KEPT = 40


class YOLOv8(Family):
    """Sizes xs, s and m of keras-cv's YOLOv8."""

    kind = "localizer"
    multiple_of = 32

    def build(self) -> keras.Model:
        if self.model.size not in SIZES:
            raise bad_input("model.size", f"unknown size '{self.model.size}'", f"known: {', '.join(SIZES)}")
        return build_network(self.model.size, self.image_size)

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """Corner boxes padded to MOST_BOXES, the largest first."""
        corners = np.zeros((len(boxes), MOST_BOXES, 4), np.float32)
        is_box = np.zeros((len(boxes), MOST_BOXES), np.float32)
        for row, each in enumerate(boxes):
            largest = each[np.argsort(-each[:, 2] * each[:, 3], kind="stable")][:MOST_BOXES]
            corners[row, : len(largest)] = geometry.to_corners(largest)
            is_box[row, : len(largest)] = 1.0
        return {"corners": corners, "is_box": is_box}

    def losses(self, targets: dict, outputs: dict) -> dict:
        points, strides = anchor_points(self.image_size)
        points, strides = ops.convert_to_tensor(points), ops.convert_to_tensor(strides)
        sides = expected_distances(outputs["distances"]) * strides[None, :, None]
        predicted = objective.from_distances(sides, points)
        return objective.losses(
            outputs["distances"], outputs["logits"], predicted, points, strides, targets["corners"], targets["is_box"]
        )

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        points, strides = anchor_points(self.image_size)
        scores = 1.0 / (1.0 + np.exp(-outputs["logits"][..., 0].astype(np.float64)))
        found = []
        for distances, confidence in zip(outputs["distances"], scores):
            rows = np.flatnonzero(confidence >= LOWEST_CONFIDENCE)
            sides = ops.convert_to_numpy(expected_distances(distances[rows])) * strides[rows, None]
            corners = np.concatenate([points[rows] - sides[:, :2], points[rows] + sides[:, 2:]], axis=-1)
            boxes = geometry.to_xywh(np.clip(corners, 0, self.image_size))
            kept = cv2.dnn.NMSBoxes(boxes.tolist(), confidence[rows].tolist(), LOWEST_CONFIDENCE, SUPPRESSION_IOU)
            kept = np.asarray(kept, dtype=np.int64).reshape(-1)[:KEPT]
            found.append(ImageBoxes(boxes[kept], confidence[rows][kept]))
        return found
