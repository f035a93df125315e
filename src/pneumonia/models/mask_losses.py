"""Losses of a mask: cross-entropy, focal, Dice and IoU losses of logits, each with a weight.

Each loss has its minimum where the probability equals the target, also for targets between 0 and 1 (a pixel that a box
covers in part, or a target that falls off towards a box's edge), and is finite for masks without a box.
"""

from collections.abc import Mapping

from keras import ops

FOCUS = 2.0  # exponent of the focal loss, Lin et al.'s best
SMOOTHING = 1.0  # pixels added to numerator and denominator: masks without a box would give 0 / 0


def cross_entropy(mask, logits):
    """Return the sigmoid cross-entropy, averaged over pixels."""
    return ops.mean(pixel_cross_entropy(mask, logits))


def focal(mask, logits):
    """Return the cross-entropy, weighted by |target - probability| ** 2 and averaged over pixels.

    Lin et al., Focal Loss, https://arxiv.org/abs/1708.02002; for targets between 0 and 1 as in Li et al., Generalized
    Focal Loss, https://arxiv.org/abs/2006.04388, equation 2.
    """
    distance = ops.abs(mask - ops.sigmoid(logits))
    return ops.mean(ops.power(distance, FOCUS) * pixel_cross_entropy(mask, logits))


def dice(mask, logits):
    """Return 1 - Dice of the whole batch (for an image without boxes alone Dice is not defined).

    The intersection is the minimum of target and probability, not their product: the same where targets are 0 or 1, and
    exact in between. Wang et al., Dice Semimetric Losses, https://arxiv.org/abs/2303.16296.
    """
    probability = ops.sigmoid(logits)
    intersection = ops.sum(ops.minimum(mask, probability))
    return 1.0 - (2.0 * intersection + SMOOTHING) / (ops.sum(mask) + ops.sum(probability) + SMOOTHING)


def iou(mask, logits):
    """Return 1 - soft Jaccard index (IoU) of the whole batch. Wang et al., Jaccard Metric Losses,
    https://arxiv.org/abs/2302.05666."""
    probability = ops.sigmoid(logits)
    intersection, union = ops.sum(ops.minimum(mask, probability)), ops.sum(ops.maximum(mask, probability))
    return 1.0 - (intersection + SMOOTHING) / (union + SMOOTHING)


LOSSES = {"cross_entropy": cross_entropy, "dice": dice, "focal": focal, "iou": iou}


def losses(mask, logits, weights: Mapping[str, float]) -> dict:
    """Return weighted scalar tensors by name; a loss of weight 0 is left out.

    Args:
        mask: (batch, h, w, 1) targets in [0, 1].
        logits: (batch, h, w, 1).
        weights: of LOSSES, by name.
    """
    return {name: weight * LOSSES[name](mask, logits) for name, weight in weights.items() if weight}


def pixel_cross_entropy(mask, logits):
    """Return the cross-entropy elementwise. ops.binary_crossentropy is not faster here, and rounds differently."""
    return ops.softplus(logits) - mask * logits
