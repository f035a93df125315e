"""Losses of a classifier: cross-entropy or focal loss of logits, with class weights and label smoothing."""

import numpy as np
from keras import ops

from pneumonia import schema


def balanced_weights(labels: np.ndarray, n_classes: int) -> list[float]:
    """Return scikit-learn's balanced class weights, (n_classes,); a class without images gets 1.

    Args:
        labels: (images,) int, 0 to n_classes - 1.
    """
    from sklearn.utils.class_weight import compute_class_weight  # slow to import, and not needed to predict

    weights = np.ones(n_classes)
    present = np.unique(labels)
    weights[present] = compute_class_weight("balanced", classes=present, y=labels)
    return weights.tolist()


def cross_entropy_of_classes(logits, labels, loss: schema.Loss):
    """Return the softmax cross-entropy, or focal loss, averaged over the batch.

    Args:
        logits: (batch, classes).
        labels: (batch,) int.
    """
    n_classes = logits.shape[-1]
    targets = ops.one_hot(labels, n_classes)
    targets = targets * (1.0 - loss.label_smoothing) + loss.label_smoothing / n_classes
    terms = -targets * ops.log_softmax(logits, axis=-1)
    if loss.name == "focal":
        terms = terms * focal_factor(log_one_minus_softmax(logits), loss.gamma)
    image_losses = ops.sum(terms, axis=-1)
    if loss.class_weights:
        image_losses = image_losses * ops.take(ops.convert_to_tensor(loss.class_weights, dtype="float32"), labels)
    return ops.mean(image_losses)


def cross_entropy_of_labels(logits, labels, loss: schema.Loss):
    """Return the sigmoid cross-entropy, or focal loss, of independent labels, averaged over batch and labels.

    Lin et al., Focal Loss, https://arxiv.org/abs/1708.02002: the factor (1 - p) ** gamma lowers the weight of easy
    images.

    Args:
        logits, labels: (batch, labels); labels 0 or 1.
    """
    targets = labels * (1.0 - loss.label_smoothing) + loss.label_smoothing / 2
    log_yes, log_no = -ops.softplus(-logits), -ops.softplus(logits)
    yes, no = targets * log_yes, (1.0 - targets) * log_no
    if loss.name == "focal":
        yes, no = yes * focal_factor(log_no, loss.gamma), no * focal_factor(log_yes, loss.gamma)
    label_losses = -(yes + no)
    if loss.class_weights:
        negative, positive = loss.class_weights
        label_losses = label_losses * (labels * positive + (1.0 - labels) * negative)
    return ops.mean(label_losses)


def focal_factor(log_one_minus_p, gamma: float):
    """Return (1 - p) ** gamma from log(1 - p). The power itself has no finite gradient where 1 - p rounds to 0."""
    return ops.exp(gamma * log_one_minus_p)


def log_one_minus_softmax(logits):
    """Return log(1 - softmax), exact where the softmax rounds to 1: (batch, classes) to (batch, classes)."""
    other_logits = ops.expand_dims(logits, 1) - 1e9 * ops.eye(logits.shape[-1], dtype=logits.dtype)
    return ops.logsumexp(other_logits, axis=-1) - ops.logsumexp(logits, axis=-1, keepdims=True)
