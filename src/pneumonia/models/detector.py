"""What detectors with anchors share: targets."""

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.models.image_output import LocalizerWithImageOutput

BOXES = 8  # the competition has at most 4 in an image: a mosaic of four rarely more than 8, for which arrays grow


class Detector(LocalizerWithImageOutput):
    """A family with one class, opacity, and a box at every anchor."""

    def targets(self, boxes: list[np.ndarray], classes: np.ndarray) -> dict[str, np.ndarray]:
        """Return `corners` (batch, boxes, 4), the largest box first, padded with zeros to a multiple of BOXES; `is_box`
        (batch, boxes), 1 for a box, 0 for padding; with an image loss also `class` (batch,)."""
        most = BOXES * max([1, *(-(-len(image_boxes) // BOXES) for image_boxes in boxes)])
        corners = np.zeros((len(boxes), most, 4), np.float32)
        is_box = np.zeros((len(boxes), most), np.float32)
        for row, image_boxes in enumerate(boxes):
            order = np.argsort(-image_boxes[:, 2] * image_boxes[:, 3], kind="stable")
            corners[row, : len(order)] = geometry.to_corners(image_boxes[order])
            is_box[row, : len(order)] = 1.0
        return {"corners": corners, "is_box": is_box} | self.image_targets(classes)
