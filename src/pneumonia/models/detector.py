"""What detectors with anchors share: targets, the loss of the whole image's class, and suppression of boxes."""

import cv2
import keras
import numpy as np
from keras import ops

from pneumonia.boxes import geometry
from pneumonia.data.labels import CLASSES
from pneumonia.models.family import Family, ImageBoxes

MAX_TRUE_BOXES = 8  # per image; the competition's tables have at most 4
MAX_CANDIDATES = 1000  # boxes per image that suppression looks at, as in Lin et al., Focal Loss, section 4
MAX_DECODED = 300  # boxes per image; max_boxes and min_score of the experiment limit them further


class Detector(Family):
    """A family with one class, opacity, and a box at every anchor.

    `model.image_loss` above 0 adds an output and a loss for the class of the whole image (normal, not normal, opacity),
    as the competition's second place had: the backbone then also learns from images without a box. `decode` does not
    use this output.
    """

    kind = "localizer"
    min_score = 0.001  # of a decoded box; boxes with lower scores never suppress boxes with higher ones
    suppression_iou = 0.45  # radiologists' boxes hardly overlap, but fusion profits from several boxes of a finding

    @property
    def image_classes(self) -> int:
        """Number of the classes of the whole image; 0 without that output."""
        return len(CLASSES) if self.model.image_loss else 0

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

    def image_losses(self, targets: dict, outputs: dict) -> dict:
        """Return {"image": the weighted loss of the whole image's class}; empty where the network has no such output.

        It is the mean softmax cross-entropy.
        """
        if not self.model.image_loss:
            return {}
        logits = outputs["image_logits"]
        one_hot = ops.one_hot(targets["class"], logits.shape[-1], dtype="float32")
        loss = -ops.mean(ops.sum(one_hot * ops.log_softmax(logits, axis=-1), axis=-1))
        return {"image": self.model.image_loss * loss}

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


def image_head(feature, classes: int, dropout: float):
    """Return logits of the whole image, from mean and maximum of the backbone's last map (findings are local)."""
    pools = [
        keras.layers.GlobalAveragePooling2D(name="image_average")(feature),
        keras.layers.GlobalMaxPooling2D(name="image_maximum")(feature),
    ]
    pooled = keras.layers.Dropout(dropout, name="image_dropout")(keras.layers.Concatenate(name="image_pooled")(pools))
    return keras.layers.Dense(classes, dtype="float32", name="image_logits")(pooled)
