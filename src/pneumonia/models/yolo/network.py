"""YOLOv8's network: keras-cv's backbone (or any other) and feature pyramid, with our heads.

The heads give logits, for a stable cross-entropy. The class biases start at the share of anchors that have a finding
(Lin et al., Focal Loss, section 4.1, https://arxiv.org/abs/1708.02002). The outputs are float32, also under a mixed
precision policy.
"""

import math

import keras
from keras import ops

from pneumonia.decoding.anchor_boxes import BINS
from pneumonia.models.backbones import BACKBONE
from pneumonia.models.keras_private import path_aggregation_fpn
from pneumonia.system.keras_import import import_keras_cv

SIZES = {  # channels and depths of the backbone's stacks, depth of the pyramid, from keras-cv's presets
    "xs": ((32, 64, 128, 256), (1, 2, 2, 1), 1),
    "s": ((64, 128, 256, 512), (1, 2, 2, 1), 1),
    "m": ((96, 192, 384, 576), (2, 4, 4, 2), 2),
}


def build_backbone(size: str, image_size: int) -> keras.Model:
    """Build YOLOv8's own backbone: (batch, size, size, 3) in 0..255 to a map at each of the strides 8, 16 and
    32."""
    channels, depths, _ = SIZES[size]
    backbone = import_keras_cv().models.YOLOV8Backbone(
        stackwise_channels=list(channels),
        stackwise_depth=list(depths),
        include_rescaling=True,
        input_shape=(image_size, image_size, 3),
    )
    names = [backbone.pyramid_level_inputs[f"P{level}"] for level in (3, 4, 5)]
    return keras.Model(backbone.input, [backbone.get_layer(name).output for name in names], name=BACKBONE)


def pyramid(maps: list, size: str) -> list:
    """Return the pyramid's features of a backbone's three maps."""
    return path_aggregation_fpn(maps, depth=SIZES[size][2], name="pyramid")


def outputs_of(features: list, class_prior: float) -> dict:
    """Return {"distances": (batch, anchors, 4 * BINS), "logits": (batch, anchors, 1)} of the pyramid's features.

    Args:
        class_prior: an anchor's initial probability of a finding, in (0, 1); 0 for biases of zero.
    """
    bias = math.log(class_prior / (1 - class_prior)) if class_prior else 0.0
    heads = [head(feature, bias, f"head_p{level}") for level, feature in zip((3, 4, 5), features)]
    return {
        "distances": keras.layers.Concatenate(axis=1, dtype="float32", name="distances")([d for d, _ in heads]),
        "logits": keras.layers.Concatenate(axis=1, dtype="float32", name="logits")([c for _, c in heads]),
    }


def project(maps: list, size: str) -> list:
    """Return another backbone's maps with the channels that the pyramid of this size has."""
    return [
        conv_block(feature, channels, f"project_p{level}", kernel=1)
        for level, feature, channels in zip((3, 4, 5), maps, SIZES[size][0][1:])
    ]


def head(feature, bias: float, name: str):
    """Return distances and logits of one pyramid level, anchors in row order; `bias` is the logits' initial bias."""
    channels = feature.shape[-1]
    distances = conv_block(
        conv_block(feature, max(64, channels // 4), f"{name}_box_1"), max(64, channels // 4), f"{name}_box_2"
    )
    distances = keras.layers.Conv2D(4 * BINS, 1, name=f"{name}_box")(distances)
    logits = conv_block(conv_block(feature, channels, f"{name}_class_1"), channels, f"{name}_class_2")
    start = keras.initializers.Constant(bias)
    logits = keras.layers.Conv2D(1, 1, bias_initializer=start, name=f"{name}_class")(logits)
    return keras.layers.Reshape((-1, 4 * BINS))(distances), keras.layers.Reshape((-1, 1))(logits)


def conv_block(x, channels: int, name: str, kernel: int = 3):
    x = keras.layers.Conv2D(channels, kernel, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.Activation("swish", name=f"{name}_act")(x)


def expected_distances(distances):
    """Return the mean of each distribution: (..., 4 * BINS) logits to (..., 4) distances in strides."""
    shape = (*ops.shape(distances)[:-1], 4, BINS)
    return ops.sum(ops.softmax(ops.reshape(distances, shape), axis=-1) * ops.arange(BINS, dtype="float32"), axis=-1)
