"""RetinaNet's losses in keras.ops: assignment by IoU, focal loss of the class, CIoU loss of the boxes.

Lin et al., Focal Loss, https://arxiv.org/abs/1708.02002. Different from it: the boxes' loss is 1 - CIoU of decoded
boxes, as the competition measures IoU, and a true box without an anchor at POSITIVE_IOU keeps its nearest one.
"""

from typing import NamedTuple

from keras import ops

from pneumonia.decoding.anchor_boxes import MAX_LOG_SIZE
from pneumonia.models.box_overlap import EPSILON, complete_iou, iou

POSITIVE_IOU, NEGATIVE_IOU = 0.5, 0.4  # anchors between them are no part of the class loss
ALPHA, GAMMA = 0.25, 2.0
BOX_WEIGHT = 2.0


class Assignment(NamedTuple):
    """boxes: (batch, anchors, 4) corners of the box that each anchor has the largest IoU with.
    positive, counted: (batch, anchors) 1 for an anchor that has a finding; 1 for an anchor in the class loss."""

    boxes: object
    positive: object
    counted: object


def assign(anchors, true, is_box) -> Assignment:
    """Assign anchors to true boxes.

    Args:
        anchors: (anchors, 4) corners. true: (batch, boxes, 4) corners, padded. is_box: (batch, boxes), 0 for padding.
    """
    overlap = iou(true[:, :, None], anchors[None, None]) * is_box[..., None]
    best = ops.argmax(overlap, axis=1)
    highest = ops.max(overlap, axis=1)
    nearest = (overlap >= ops.max(overlap, axis=2, keepdims=True) - EPSILON) & (overlap > 0)
    is_nearest = ops.any(nearest, axis=1)
    # the box whose nearest anchor it is comes before one that overlaps it more
    best = ops.where(is_nearest, ops.argmax(ops.cast(nearest, "float32") * (1.0 + overlap), axis=1), best)
    positive = (highest >= POSITIVE_IOU) | is_nearest
    counted = positive | (highest < NEGATIVE_IOU)
    boxes = ops.take_along_axis(true, best[..., None], axis=1)
    return Assignment(boxes, ops.cast(positive, "float32"), ops.cast(counted, "float32"))


def losses(logits, offsets, anchors, true, is_box) -> dict:
    """Return the losses "class" and "box", each divided by the number of positive anchors.

    Args:
        logits: (batch, anchors, 1). offsets: (batch, anchors, 4). Others as `assign` takes them.
    """
    assigned = assign(anchors, true, is_box)
    # at least one per image: the class loss must not explode for a batch with few boxes, or none
    total = ops.maximum(ops.sum(assigned.positive), ops.cast(ops.shape(logits)[0], "float32"))
    classes = focal(logits[..., 0], assigned.positive) * assigned.counted
    box = (1.0 - complete_iou(assigned.boxes, decode(offsets, anchors))) * assigned.positive
    return {"class": ops.sum(classes) / total, "box": BOX_WEIGHT * ops.sum(box) / total}


def focal(logits, positive):
    """Return the focal loss of each anchor, equation 5."""
    cross_entropy = ops.binary_crossentropy(positive, logits, from_logits=True)
    wrong = ops.abs(positive - ops.sigmoid(logits))
    weight = ALPHA * positive + (1.0 - ALPHA) * (1.0 - positive)
    return weight * ops.power(wrong + EPSILON, GAMMA) * cross_entropy


def decode(offsets, anchors):
    """Return corner boxes, (..., anchors, 4): offsets are shifts in the anchor's sides, and logarithms of the sides'
    factors."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = (anchors[..., 2:] + anchors[..., :2]) / 2.0 + offsets[..., :2] * size
    half = size * ops.exp(ops.clip(offsets[..., 2:], -MAX_LOG_SIZE, MAX_LOG_SIZE)) / 2.0
    return ops.concatenate([centre - half, centre + half], axis=-1)
