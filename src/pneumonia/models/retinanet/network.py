"""RetinaNet's network: a feature pyramid P3 to P7 on any backbone, and two heads that all levels share.

Lin et al., Feature Pyramid Networks, https://arxiv.org/abs/1612.03144, and Focal Loss, https://arxiv.org/abs/1708.02002.
The levels have batch normalisations of their own, since their statistics differ, as in EfficientDet
(https://arxiv.org/abs/1911.09070). The outputs are float32, also under a mixed precision policy.
"""

import math

import keras

from pneumonia.decoding.anchors import PER_CELL, STRIDES
from pneumonia.models.normalisation import BATCH_NORM_MOMENTUM

LEVELS = tuple(stride.bit_length() - 1 for stride in STRIDES)  # 3 to 7
BACKBONE_STRIDES = (8, 16, 32)


def pyramid(maps: list, channels: int) -> list:
    """Return P3 to P7 of a backbone's maps at BACKBONE_STRIDES, all with these channels."""
    finest, middle, coarsest = (
        keras.layers.Conv2D(channels, 1, name=f"lateral_p{level}")(each) for level, each in zip(LEVELS, maps)
    )
    merged = [coarsest]
    for level, lateral in ((4, middle), (3, finest)):
        up = keras.layers.UpSampling2D(name=f"up_p{level}")(merged[0])
        merged.insert(0, keras.layers.Add(name=f"merged_p{level}")([lateral, up]))
    levels = [
        norm(conv(each, channels, f"pyramid_p{level}"), f"pyramid_p{level}") for level, each in zip(LEVELS, merged)
    ]
    for level in LEVELS[len(maps) :]:
        levels.append(norm(conv(levels[-1], channels, f"pyramid_p{level}", stride=2), f"pyramid_p{level}"))
    return levels


def outputs_of(levels: list, depth: int, class_prior: float) -> dict:
    """Return {"logits": (batch, anchors, 1), "offsets": (batch, anchors, 4)}, in the order of anchors.grid.

    Args:
        depth: convolutions of each head before its last.
        class_prior: an anchor's initial probability of a finding, in (0, 1); 0 for biases of zero.
    """
    bias = keras.initializers.Constant(math.log(class_prior / (1 - class_prior)) if class_prior else 0.0)
    return {
        "logits": head(levels, depth, 1, bias, "class", "logits"),
        "offsets": head(levels, depth, 4, keras.initializers.Zeros(), "box", "offsets"),
    }


def head(levels: list, depth: int, values: int, bias: keras.initializers.Initializer, name: str, output: str):
    """Return (batch, anchors, values): the same convolutions on every level."""
    small = keras.initializers.RandomNormal(stddev=0.01, seed=0)
    channels = levels[0].shape[-1]
    convs = [
        keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_{step}_conv")
        for step in range(depth)
    ]
    last = keras.layers.Conv2D(
        PER_CELL * values, 3, padding="same", kernel_initializer=small, bias_initializer=bias, name=f"{name}_last"
    )
    outputs = []
    for level, x in zip(LEVELS, levels):
        for step, layer in enumerate(convs):
            x = norm(layer(x), f"{name}_{step}_p{level}")
        outputs.append(keras.layers.Reshape((-1, values), name=f"{name}_p{level}")(last(x)))
    return keras.layers.Concatenate(axis=1, dtype="float32", name=output)(outputs)


def conv(x, channels: int, name: str, stride: int = 1):
    layer = keras.layers.Conv2D(channels, 3, stride, padding="same", use_bias=False, name=f"{name}_conv")
    return layer(x)


def norm(x, name: str):
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
