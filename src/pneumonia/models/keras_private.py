"""All uses of private parts of Keras and keras-cv; `keras` has an upper bound in requirements.in because of them.

Each function says which public way was tried. tests/models/test_keras_private.py finds any other file that uses one.
"""

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator

import keras

from pneumonia.system.keras_import import import_keras_cv

# keras.applications takes `get_file` from the first, segmentation-models from one of the other two; which one depends
# on the order of imports
MODULES_WITH_GET_FILE = ("keras.src.utils.file_utils", "keras.utils", "keras._tf_keras.keras.utils")


@contextlib.contextmanager
def replace_get_file(get_file: Callable) -> Iterator[None]:
    """Within this context keras.applications and segmentation-models get their weights files from `get_file`, which
    takes the arguments of keras.utils.get_file.

    Public ways that were tried: `weights=FILE` of keras.applications needs the file's name and checksum, which only the
    call of get_file gives; $KERAS_HOME is read once, when Keras is imported, and needs the file in a folder `models`.
    """
    modules = [importlib.import_module(name) for name in MODULES_WITH_GET_FILE]
    originals = [module.get_file for module in modules]
    try:
        for module in modules:
            module.get_file = get_file
        yield
    finally:
        for module, original in zip(modules, originals):
            module.get_file = original


def path_aggregation_fpn(features: list, depth: int, name: str) -> list:
    """Apply keras-cv's feature pyramid of YOLOv8: three maps (batch, h, w, channels) to three maps of the same shapes.

    Public way that was tried: YOLOV8Detector has these layers, but only together with its own heads, whose random
    initialisation would change that of ours.
    """
    import_keras_cv()
    from keras_cv.src.models.object_detection.yolo_v8.yolo_v8_detector import apply_path_aggregation_fpn

    return apply_path_aggregation_fpn(features, depth=depth, name=name)


@contextlib.contextmanager
def fused_batch_norm() -> Iterator[None]:
    """Within this context batches of images are normalised by TensorFlow's fused kernel, in frozen layers too.

    The values are the same up to rounding. Keras composes them of several operations, each a pass over the feature map:
    with oneDNN's kernels a step of the MobileNet U-Net then takes 1.5 times as long (benchmarks/step_kernels.py).

    Public way that was tried: none, Keras 3 removed `fused=True`; layers of keras.applications and keras-cv cannot be
    exchanged for others before they are called.
    """
    import tensorflow as tf

    layer_class = keras.layers.BatchNormalization
    keras_call = layer_class.call

    def call(layer, inputs, training=None, mask=None):
        special = mask is not None or layer.renorm or layer.synchronized or layer.compute_dtype != "float32"
        if special or len(inputs.shape) != 4 or layer.axis not in (-1, 3):
            return keras_call(layer, inputs, training=training, mask=mask)
        scale = layer.gamma if layer.scale else tf.ones_like(layer.moving_mean)
        offset = layer.beta if layer.center else tf.zeros_like(layer.moving_mean)
        fused = functools.partial(tf.compat.v1.nn.fused_batch_norm, inputs, scale, offset, epsilon=layer.epsilon)
        if not training or not layer.trainable:
            return fused(mean=layer.moving_mean, variance=layer.moving_variance, is_training=False)[0]
        outputs, mean, variance = fused()
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), variance.dtype)
        variance *= (count - 1.0) / count  # Keras averages the variance of the batch, not an estimate from it
        for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            average.assign(average * layer.momentum + value * (1.0 - layer.momentum))
        return outputs

    layer_class.call = call
    try:
        yield
    finally:
        layer_class.call = keras_call
