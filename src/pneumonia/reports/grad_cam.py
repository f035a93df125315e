"""What a classifier's answer rests on: Grad-CAM, https://arxiv.org/abs/1610.02391."""

import keras
import numpy as np
from keras import ops

POOLINGS = ("average", "max")  # names of the layers that pool the last feature map (models/classifiers.py)


def has_feature_map(network: keras.Model) -> bool:
    return any(layer.name in POOLINGS for layer in network.layers)


def heat_map(network: keras.Model, inputs, output: int = -1) -> np.ndarray:
    """How much each cell of the last feature map speaks for one output, (batch, h, w) float32, 0 to 1 in each image.

    Args:
        inputs: a batch as the network takes it.
        output: position of the logit; -1 is opacity in a binary and in a 3-class head, not in NIH's.
    """
    pooling = next(layer for layer in network.layers if layer.name in POOLINGS)
    features = pooling.input
    gray, person = (inputs["gray"], inputs["person"]) if isinstance(inputs, dict) else (inputs, None)
    to_person = next((each for each in network.inputs if each.name == "person"), None)
    person = None if person is None else ops.convert_to_tensor(person)  # Keras mixes no arrays with tensors in one call
    body = keras.Model(next(each for each in network.inputs if each.name == "gray"), features)
    head = keras.Model(features if person is None else [features, to_person], network.output["logits"])
    activations = body(gray, training=False)

    def logit(cells):
        return ops.sum(head(cells if person is None else [cells, person], training=False)[:, output])

    gradients = gradient(logit, activations)
    weights = ops.mean(gradients, axis=(1, 2), keepdims=True)
    heat = ops.convert_to_numpy(ops.relu(ops.sum(weights * activations, axis=-1))).astype(np.float32)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)


def gradient(function, point):
    """Gradient of a scalar function of one tensor, on the backend in use."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(point)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(point)
        value = function(point)
    return tape.gradient(value, point)
