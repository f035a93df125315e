"""What a network of masks minimises: cross-entropy, focal, Dice and IoU losses of logits, each with a weight.

Every one of them is least where the probability equals the target, also where a target lies between 0 and 1 (a pixel
that a box covers in part, or a target that falls off towards a box's edge), and is finite for masks without a box.
"""

from collections.abc import Mapping

from keras import ops

FOCUS = 2.0  # exponent of the focal loss, Lin et al.'s best
SMOOTHING = 1.0  # pixels added to both sides of a ratio: masks without a box have one too


def cross_entropy(mask, logits):
    """Sigmoid cross-entropy, mean over pixels."""
    return ops.mean(cross_entropy_of_pixels(mask, logits))


def focal(mask, logits):
    """Cross-entropy whose pixels count by |target - probability| ** 2, mean over pixels.

    Lin et al., Focal Loss, https://arxiv.org/abs/1708.02002; for targets between 0 and 1 as in Li et al., Generalized
    Focal Loss, https://arxiv.org/abs/2006.04388, equation 2.
    """
    distance = ops.abs(mask - ops.sigmoid(logits))
    return ops.mean(ops.power(distance, FOCUS) * cross_entropy_of_pixels(mask, logits))


def dice(mask, logits):
    """1 - Dice of the whole batch (an image without boxes has none of its own).

    Twice what target and probability share over what both have. Shared is the lesser of the two and not their product:
    the same where targets are 0 or 1, and exact between. Wang et al., Dice Semimetric Losses,
    https://arxiv.org/abs/2303.16296.
    """
    probability = ops.sigmoid(logits)
    shared = ops.sum(ops.minimum(mask, probability))
    return 1.0 - (2.0 * shared + SMOOTHING) / (ops.sum(mask) + ops.sum(probability) + SMOOTHING)


def iou(mask, logits):
    """1 - soft Jaccard index of the whole batch: what target and probability share over what either has. Wang et al.,
    Jaccard Metric Losses, https://arxiv.org/abs/2302.05666."""
    probability = ops.sigmoid(logits)
    shared, either = ops.sum(ops.minimum(mask, probability)), ops.sum(ops.maximum(mask, probability))
    return 1.0 - (shared + SMOOTHING) / (either + SMOOTHING)


LOSSES = {"cross_entropy": cross_entropy, "dice": dice, "focal": focal, "iou": iou}


def losses(mask, logits, weights: Mapping[str, float]) -> dict:
    """Scalar tensors by name, weighted; a loss of weight 0 is left out.

    Args:
        mask: (batch, h, w, 1) targets in [0, 1].
        logits: (batch, h, w, 1).
        weights: of LOSSES, by name.
    """
    return {name: weight * LOSSES[name](mask, logits) for name, weight in weights.items() if weight}


def cross_entropy_of_pixels(mask, logits):
    """Elementwise. ops.binary_crossentropy is no faster here, and rounds differently."""
    return ops.softplus(logits) - mask * logits
