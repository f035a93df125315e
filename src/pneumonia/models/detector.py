"""What detectors with anchors share: targets."""

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.models.image_output import LocalizerWithImageOutput

# per image; the competition's tables have at most 4, of which a mosaic of four images hardly ever has more than 8
MAX_TRUE_BOXES = 8


class Detector(LocalizerWithImageOutput):
    """A family with one class, opacity, and a box at every anchor."""

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
