"""YOLOv8's losses: task-aligned assignment, class loss, CIoU and distribution focal loss, in keras.ops.

References: Feng et al., TOOD, https://arxiv.org/abs/2108.07755 (assignment and soft class targets); Li et al.,
Generalized Focal Loss, https://arxiv.org/abs/2006.04388 (distribution focal loss, and quality focal loss, the class
loss `focal`).
"""

from typing import NamedTuple

from keras import ops

from pneumonia.models.box_overlap import EPSILON, complete_iou, iou
from pneumonia.models.yolo.network import BINS

CANDIDATES = 10  # anchors that may be assigned to one box
ALPHA, BETA = 0.5, 6.0  # exponents of confidence and IoU in the alignment of an anchor with a box
BOX_WEIGHT = 7.5  # YOLOv8's value, like cross_entropy below; focal has half the box loss's weight, as in Li et al.
CLASS_WEIGHTS = {"cross_entropy": 0.5, "focal": 3.75}
FOCUS = 2.0  # exponent of the quality focal loss: Li et al., table 1


class Prediction(NamedTuple):
    """distances: (batch, anchors, 4 * BINS) logits. logits: (batch, anchors, 1) of the class.
    corners: (batch, anchors, 4) boxes in pixels, decoded from `distances`."""

    distances: object
    logits: object
    corners: object


class Anchors(NamedTuple):
    """points: (anchors, 2) centres x, y in pixels. strides: (anchors,) in pixels. See decoding/anchor_boxes.py."""

    points: object
    strides: object


class Assignment(NamedTuple):
    """boxes: (batch, anchors, 4) corners of the box that each anchor is assigned to.
    scores: (batch, anchors) soft class target, 0 for an anchor without a box."""

    boxes: object
    scores: object


def assign(confidence, predicted, points, true, is_box) -> Assignment:
    """Assign anchors to true boxes by their alignment: how high their confidence and their IoU with the box are.

    Args:
        confidence: (batch, anchors) in [0, 1].
        predicted: (batch, anchors, 4) corners.
        points: (anchors, 2) anchor centres x, y.
        true: (batch, boxes, 4) corners, padded; is_box: (batch, boxes) 1 for a box, 0 for padding.
    """
    offsets = ops.concatenate(
        [points[None, None] - true[:, :, None, :2], true[:, :, None, 2:] - points[None, None]], -1
    )
    inside = ops.cast(ops.min(offsets, axis=-1) > 0, "float32") * is_box[..., None]
    overlap = iou(true[:, :, None], predicted[:, None]) * inside
    alignment = ops.power(confidence[:, None] + EPSILON, ALPHA) * ops.power(overlap, BETA) * inside
    lowest = ops.top_k(alignment, CANDIDATES)[0][..., -1:]
    chosen = ops.cast((alignment >= lowest) & (alignment > 0), "float32")
    # an anchor that two boxes have chosen is assigned to the one with the larger IoU
    best = ops.argmax(overlap * chosen, axis=1)
    chosen = chosen * ops.transpose(ops.one_hot(best, true.shape[1]), (0, 2, 1))
    alignment, overlap = alignment * chosen, overlap * chosen
    strength = ops.max(overlap, -1, keepdims=True) / (ops.max(alignment, -1, keepdims=True) + EPSILON * EPSILON)
    scores = ops.max(alignment * strength, axis=1)
    boxes = ops.take_along_axis(true, best[..., None], axis=1)
    return Assignment(ops.stop_gradient(boxes), ops.stop_gradient(scores))


def losses(prediction: Prediction, anchors: Anchors, true, is_box, class_loss: str, distribution_weight: float) -> dict:
    """Return the weighted losses, each divided by the sum of the soft targets: class, box, and distribution unless its
    weight is 0.

    Args:
        true, is_box: as `assign` takes them.
        class_loss: a key of CLASS_WEIGHTS.
    """
    logits = prediction.logits[..., 0]
    assigned = assign(ops.sigmoid(logits), prediction.corners, anchors.points, true, is_box)
    # at least one per image: the class loss must not explode for a batch with few boxes, or none
    total = ops.maximum(ops.sum(assigned.scores), ops.cast(ops.shape(logits)[0], "float32"))
    classes = CLASS_LOSSES[class_loss](logits, assigned.scores)
    box = (1.0 - complete_iou(assigned.boxes, prediction.corners)) * assigned.scores
    terms = {"class": CLASS_WEIGHTS[class_loss] * classes, "box": BOX_WEIGHT * box}
    if distribution_weight:
        sides = to_distances(assigned.boxes, anchors.points) / anchors.strides[None, :, None]
        focal = ops.mean(distribution_focal(prediction.distances, sides), axis=-1)
        terms["distribution"] = distribution_weight * focal * assigned.scores
    return {name: ops.sum(value) / total for name, value in terms.items()}


def cross_entropy(logits, targets):
    """Return the sigmoid cross-entropy with soft targets in [0, 1], elementwise; stable for any logit."""
    return ops.binary_crossentropy(targets, logits, from_logits=True)


def quality_focal(logits, targets):
    """Return the cross-entropy times |target - probability| ** FOCUS, elementwise: a focal loss for soft targets.

    It lowers the weight of anchors that are already correct, which is nearly all of those without a box.
    """
    return ops.power(ops.abs(targets - ops.sigmoid(logits)) + EPSILON, FOCUS) * cross_entropy(logits, targets)


CLASS_LOSSES = {"cross_entropy": cross_entropy, "focal": quality_focal}


def to_distances(corners, points):
    """Return the left, top, right, bottom distances from anchor centres to the sides of corner boxes, in pixels."""
    return ops.concatenate([points - corners[..., :2], corners[..., 2:] - points], axis=-1)


def from_distances(sides, points):
    """Return corner boxes: the inverse of `to_distances`."""
    return ops.concatenate([points - sides[..., :2], points + sides[..., 2:]], axis=-1)


def distribution_focal(distances, sides):
    """Return the cross-entropy with the two bins below and above the true distance, (batch, anchors, 4)."""
    sides = ops.clip(sides, 0.0, BINS - 1.01)
    lower_bin = ops.floor(sides)
    upper_weight = (sides - lower_bin)[..., None]
    lower_bin = ops.cast(lower_bin, "int32")
    targets = ops.one_hot(lower_bin, BINS) * (1.0 - upper_weight) + ops.one_hot(lower_bin + 1, BINS) * upper_weight
    logits = ops.reshape(distances, (*ops.shape(distances)[:-1], 4, BINS))
    return -ops.sum(targets * ops.log_softmax(logits, axis=-1), axis=-1)
