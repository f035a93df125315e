"""Boxes from the outputs of detectors with anchors."""

import functools
from abc import abstractmethod

import cv2
import numpy as np
from scipy.special import expit, softmax

from pneumonia.boxes import geometry
from pneumonia.decoding.anchors import Shapes, fit, grid
from pneumonia.decoding.classes import ImageClassDecoder
from pneumonia.decoding.decoder import ImageBoxes

MAX_CANDIDATES = 1000  # boxes per image that suppression looks at, as in Lin et al., Focal Loss, section 4
MAX_DECODED = 300  # boxes per image; max_boxes and min_score of the experiment limit them further
STRIDES = (8, 16, 32)  # pixels per cell of YOLOv8's three levels
BINS = 16  # of YOLOv8's distribution of each distance from an anchor to one of the box's sides, one bin per stride
MAX_LOG_SIZE = 4.0  # a RetinaNet's box is at most e^4 times as large as its anchor: exp does not overflow


class DetectorDecoder(ImageClassDecoder):
    """Of `logits` (batch, anchors, 1), one class, and an output with a box for each anchor."""

    min_score = 0.001  # of a decoded box; boxes with lower scores never suppress boxes with higher ones
    suppression_iou = 0.45  # radiologists' boxes hardly overlap, but fusion profits from several boxes of a finding

    def decode(self, outputs: dict[str, np.ndarray]) -> list[ImageBoxes]:
        boxes_of_images = []
        for row, confidence in enumerate(expit(outputs["logits"][..., 0].astype(np.float64))):
            anchors = np.flatnonzero(confidence >= self.min_score)
            boxes_of_images.append(self.suppress(self.corners(outputs, row, anchors), confidence[anchors]))
        return boxes_of_images

    @abstractmethod
    def corners(self, outputs: dict[str, np.ndarray], row: int, anchors: np.ndarray) -> np.ndarray:
        """Return the boxes of some anchors of the image `row`, (anchors, 4) float64 corners in pixels."""

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


class YOLOv8Decoder(DetectorDecoder):
    """Of `distances` (batch, anchors, 4 * BINS), distributions of the distances to a box's sides."""

    def corners(self, outputs: dict[str, np.ndarray], row: int, anchors: np.ndarray) -> np.ndarray:
        points, strides = anchor_points(self.image_size)
        distributions = outputs["distances"][row, anchors].reshape(-1, 4, BINS).astype(np.float64)
        sides = (softmax(distributions, axis=-1) @ np.arange(BINS)) * strides[anchors, None]
        return np.concatenate([points[anchors] - sides[:, :2], points[anchors] + sides[:, 2:]], axis=-1)


class RetinaNetDecoder(DetectorDecoder):
    """Of `offsets` (batch, anchors, 4): shifts in the anchor's sides, and logarithms of the sides' factors."""

    @property
    def anchors(self) -> np.ndarray:
        """(anchors, 4) corners in pixels."""
        ratios = self.model.anchor_ratios or fit([], self.image_size)[0].ratios
        return cached_grid(self.image_size, self.model.anchor_scale, tuple(ratios))

    def corners(self, outputs: dict[str, np.ndarray], row: int, anchors: np.ndarray) -> np.ndarray:
        boxes = geometry.to_xywh(self.anchors[anchors].astype(np.float64))
        offsets, size = outputs["offsets"][row, anchors].astype(np.float64), boxes[:, 2:]
        centre = boxes[:, :2] + size / 2 + offsets[:, :2] * size
        half = size * np.exp(np.clip(offsets[:, 2:], -MAX_LOG_SIZE, MAX_LOG_SIZE)) / 2
        return np.concatenate([centre - half, centre + half], axis=-1)


@functools.lru_cache(maxsize=4)  # a batch asks for it once an image
def cached_grid(image_size: int, scale: float, ratios: tuple[float, ...]) -> np.ndarray:
    return grid(image_size, Shapes(scale, [*ratios]))


@functools.lru_cache(maxsize=4)
def anchor_points(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return YOLOv8's centres x, y (anchors, 2) and strides (anchors,) in pixels, in the order of its outputs."""
    points, strides = [], []
    for stride in STRIDES:
        cells = -(-image_size // stride)
        centres = (np.arange(cells) + 0.5) * stride
        y, x = np.meshgrid(centres, centres, indexing="ij")
        points.append(np.stack([x.ravel(), y.ravel()], axis=-1))
        strides.append(np.full(cells * cells, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)
