"""How steps are computed: number format, XLA, determinism, devices. Decided once per process, before the network."""

import contextlib

import keras

from pneumonia import schema
from pneumonia.system.errors import EnvironmentFailure, bad_input


def on_gpu() -> bool:
    return not all(device.startswith("cpu") for device in keras.distribution.list_devices())


def precision_of(experiment: schema.Experiment) -> str:
    """`auto` is mixed_bfloat16 on a GPU, whose range needs no loss scaling, and float32 on a CPU."""
    if experiment.precision != "auto":
        return experiment.precision
    return "mixed_bfloat16" if on_gpu() else "float32"


@contextlib.contextmanager
def computing(experiment: schema.Experiment):
    """Build networks in here: layers take the number format of the experiment, and its devices.

    Raises:
        EnvironmentFailure: fewer devices than the experiment wants.
    """
    if experiment.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision_of(experiment))
    try:
        with shared(experiment):
            yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def shared(experiment: schema.Experiment):
    """Variables made in here are on every one of the experiment's devices, and every batch is shared among them."""
    count = experiment.devices
    if count <= 1:
        yield
        return
    devices = keras.distribution.list_devices()
    if len(devices) < count:
        raise EnvironmentFailure(f"devices={count}, but this process sees {len(devices)}: {', '.join(devices)}")
    if experiment.batch_size % count:
        what = f"{experiment.batch_size} does not divide among {count} devices"
        raise bad_input("batch_size", what, f"choose a multiple of {count}")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(devices[:count]).scope():
            yield
    else:
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[:count]))
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)


def share_of_device(loss):
    """One device's part of a loss that is a mean over its own part of the batch: gradients of devices are added up."""
    if keras.backend.backend() != "tensorflow":
        return loss
    import tensorflow as tf

    return loss / tf.distribute.get_strategy().num_replicas_in_sync


def uses_xla(experiment: schema.Experiment) -> bool:
    """Whether steps are compiled. `auto`: on a GPU, and on JAX everywhere, where Keras runs a step that is not compiled
    operation by operation: 1.17 s a step on a CPU against 0.10 s (MobileNetV2).

    Raises:
        BadInput: an unknown value of `xla`.
    """
    if experiment.xla not in ("auto", "on", "off"):
        raise bad_input("xla", f"unknown value '{experiment.xla}'", "known: auto, on, off")
    if experiment.xla != "auto":
        return experiment.xla == "on"
    return keras.backend.backend() == "jax" or on_gpu()
