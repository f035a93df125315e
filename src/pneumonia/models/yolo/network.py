"""YOLOv8's network from keras-cv's parts: backbone and feature pyramid theirs, heads ours.

The heads end in logits (a stable cross-entropy) whose class biases start at the share of anchors that hold a finding.
"""

import math

import keras
import numpy as np
from keras import ops

from pneumonia.models.normalisation import gray_input, set_batch_norm_momentum

STRIDES = (8, 16, 32)
BINS = 16  # of the distribution over each of the four distances from an anchor to the box's sides, in strides
SIZES = {  # stackwise channels and depth of the backbone, depth of the pyramid, as keras-cv's presets have them
    "xs": ((32, 64, 128, 256), (1, 2, 2, 1), 1),
    "s": ((64, 128, 256, 512), (1, 2, 2, 1), 1),
    "m": ((96, 192, 384, 576), (2, 4, 4, 2), 2),
}
CLASS_PRIOR = 0.01  # Lin et al., Focal Loss, section 4.1: as many anchors hold an object at the start of training


def build_network(size: str, image_size: int) -> keras.Model:
    """(batch, size, size, 1) gray to {"distances": (batch, anchors, 4 * BINS), "logits": (batch, anchors, 1)}."""
    import keras_cv
    from keras_cv.src.models.object_detection.yolo_v8.yolo_v8_detector import apply_path_aggregation_fpn

    channels, depths, pyramid_depth = SIZES[size]
    gray = gray_input(image_size)
    backbone = keras_cv.models.YOLOV8Backbone(
        stackwise_channels=list(channels),
        stackwise_depth=list(depths),
        include_rescaling=True,
        input_shape=(image_size, image_size, 3),
    )
    names = [backbone.pyramid_level_inputs[f"P{level}"] for level in (3, 4, 5)]
    levels = keras.Model(backbone.input, [backbone.get_layer(name).output for name in names])
    features = levels(keras.layers.Concatenate(name="gray_to_channels")([gray] * 3))
    features = apply_path_aggregation_fpn(features, depth=pyramid_depth, name="pyramid")
    heads = [head(feature, f"head_p{level}") for level, feature in zip((3, 4, 5), features)]
    outputs = {
        "distances": keras.layers.Concatenate(axis=1, dtype="float32", name="distances")([d for d, _ in heads]),
        "logits": keras.layers.Concatenate(axis=1, dtype="float32", name="logits")([c for _, c in heads]),
    }
    network = keras.Model(gray, outputs, name=f"yolov8_{size}")
    set_batch_norm_momentum(network)
    return network


def head(feature, name: str):
    """One pyramid level's distances and logits, anchors flattened row by row."""
    channels = feature.shape[-1]
    distances = conv_block(
        conv_block(feature, max(64, channels // 4), f"{name}_box_1"), max(64, channels // 4), f"{name}_box_2"
    )
    distances = keras.layers.Conv2D(4 * BINS, 1, name=f"{name}_box")(distances)
    logits = conv_block(conv_block(feature, channels, f"{name}_class_1"), channels, f"{name}_class_2")
    prior = keras.initializers.Constant(-math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
    logits = keras.layers.Conv2D(1, 1, bias_initializer=prior, name=f"{name}_class")(logits)
    return keras.layers.Reshape((-1, 4 * BINS))(distances), keras.layers.Reshape((-1, 1))(logits)


def conv_block(x, channels: int, name: str):
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.Activation("swish", name=f"{name}_act")(x)


def anchor_points(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (anchors, 2) as x, y in pixels, and strides (anchors,), in the order of the network's outputs."""
    points, strides = [], []
    for stride in STRIDES:
        cells = -(-image_size // stride)
        centres = (np.arange(cells) + 0.5) * stride
        y, x = np.meshgrid(centres, centres, indexing="ij")
        points.append(np.stack([x.ravel(), y.ravel()], axis=-1))
        strides.append(np.full(cells * cells, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def expected_distances(distances):
    """(..., 4 * BINS) logits to (..., 4) distances in strides: the mean of each distribution."""
    shape = (*ops.shape(distances)[:-1], 4, BINS)
    return ops.sum(ops.softmax(ops.reshape(distances, shape), axis=-1) * ops.arange(BINS, dtype="float32"), axis=-1)
