"""Grad-CAM: which parts of an image a classifier's output depends on. https://arxiv.org/abs/1610.02391."""

import keras
import numpy as np
from keras import ops

POOLINGS = ("average", "max")  # names of the layers that pool the last feature map (models/classifiers.py)


def has_feature_map(network: keras.Model) -> bool:
    return any(layer.name in POOLINGS for layer in network.layers)


def heat_map(network: keras.Model, inputs, output: int = -1) -> np.ndarray:
    """Return how much each cell of the last feature map supports one output: (batch, h, w) float32, 0 to 1 per image.

    Args:
        inputs: a batch of the network's inputs.
        output: position of the logit; -1 is opacity in a binary and in a 3-class head, but not in NIH's.
    """
    pooling = next(layer for layer in network.layers if layer.name in POOLINGS)
    features = pooling.input
    gray, person = (inputs["gray"], inputs["person"]) if isinstance(inputs, dict) else (inputs, None)
    input_tensors = {tensor.name: tensor for tensor in network.inputs}
    # Keras does not accept arrays and tensors in one call
    person = None if person is None else ops.convert_to_tensor(person)
    body = keras.Model(input_tensors["gray"], features)
    head = keras.Model(features if person is None else [features, input_tensors["person"]], network.output["logits"])
    activations = body(gray, training=False)

    def logit(cells):
        return ops.sum(head(cells if person is None else [cells, person], training=False)[:, output])

    gradients = gradient(logit, activations)
    weights = ops.mean(gradients, axis=(1, 2), keepdims=True)
    heat = ops.convert_to_numpy(ops.relu(ops.sum(weights * activations, axis=-1))).astype(np.float32)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)


def gradient(function, point):
    """Return the gradient of a scalar function of one tensor, on the current backend."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(point)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(point)
        value = function(point)
    return tape.gradient(value, point)
