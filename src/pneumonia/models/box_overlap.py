"""Overlap of corner boxes in keras.ops, for losses and the assignment of anchors."""

import math

from keras import ops

EPSILON = 1e-7


def iou(a, b):
    """Return the IoU of corner boxes, broadcast: (..., 4) and (..., 4) to (...)."""
    size = ops.maximum(ops.minimum(a[..., 2:], b[..., 2:]) - ops.maximum(a[..., :2], b[..., :2]), 0.0)
    intersection = size[..., 0] * size[..., 1]
    return intersection / (area(a) + area(b) - intersection + EPSILON)


def area(corners):
    size = ops.maximum(corners[..., 2:] - corners[..., :2], 0.0)
    return size[..., 0] * size[..., 1]


def complete_iou(true, predicted):
    """Return the complete IoU: IoU minus terms for the distance of the centres and the difference of aspect ratios.

    Zheng et al., Distance-IoU, https://arxiv.org/abs/1911.08287.
    """
    overlap = iou(true, predicted)
    hull = ops.maximum(true[..., 2:], predicted[..., 2:]) - ops.minimum(true[..., :2], predicted[..., :2])
    diagonal = ops.sum(ops.square(hull), axis=-1) + EPSILON
    offset = true[..., :2] + true[..., 2:] - predicted[..., :2] - predicted[..., 2:]
    distance = ops.sum(ops.square(offset), axis=-1) / 4.0
    aspect = 4.0 / math.pi**2 * ops.square(angle(true) - angle(predicted))
    weight = ops.stop_gradient(aspect / (1.0 - overlap + aspect + EPSILON))
    return overlap - distance / diagonal - weight * aspect


def angle(corners):
    width, height = corners[..., 2] - corners[..., 0], corners[..., 3] - corners[..., 1]
    return ops.arctan(width / (height + EPSILON))
