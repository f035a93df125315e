"""What detectors with anchors share: targets, and suppression of boxes."""

import cv2
import numpy as np

from pneumonia.boxes import geometry
from pneumonia.models.family import ImageBoxes
from pneumonia.models.image_output import LocalizerWithImageOutput

MAX_TRUE_BOXES = 8  # per image; the competition's tables have at most 4
MAX_CANDIDATES = 1000  # boxes per image that suppression looks at, as in Lin et al., Focal Loss, section 4
MAX_DECODED = 300  # boxes per image; max_boxes and min_score of the experiment limit them further


class Detector(LocalizerWithImageOutput):
    """A family with one class, opacity, and a box at every anchor."""

    min_score = 0.001  # of a decoded box; boxes with lower scores never suppress boxes with higher ones
    suppression_iou = 0.45  # radiologists' boxes hardly overlap, but fusion profits from several boxes of a finding

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
        return {"corners": corners, "is_box": is_box} | self.image_targets(classes)

    def suppress(self, corners: np.ndarray, scores: np.ndarray) -> ImageBoxes:
        """Clip one image's boxes to the image, and drop each that a more confident one overlaps by `suppression_iou`.

        Args:
            corners: (n, 4) in pixels. scores: (n,) float64, all at least `min_score`.
        """
        boxes = geometry.to_xywh(np.clip(corners, 0, self.image_size))
        limits = self.min_score, self.suppression_iou
        order = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), *limits, top_k=MAX_CANDIDATES)
        order = np.asarray(order, dtype=np.int64).reshape(-1)[:MAX_DECODED]
        return ImageBoxes(boxes[order], scores[order])
