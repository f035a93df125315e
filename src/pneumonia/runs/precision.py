"""Number format, XLA, determinism and devices of a training; set once per process, before the network is built."""

import contextlib

import keras

from pneumonia import schema
from pneumonia.system.errors import EnvironmentFailure, bad_input


def on_gpu() -> bool:
    return not all(device.startswith("cpu") for device in keras.distribution.list_devices())


def precision_of(experiment: schema.Experiment) -> str:
    """Return the number format: `auto` is mixed_bfloat16 on a GPU (it needs no loss scaling) and float32 on a CPU."""
    if experiment.precision != "auto":
        return experiment.precision
    return "mixed_bfloat16" if on_gpu() else "float32"


@contextlib.contextmanager
def compute_policy(experiment: schema.Experiment):
    """Within this context networks are built with the experiment's number format and devices.

    Raises:
        BadInput: the batch size is not a multiple of the devices.
        EnvironmentFailure: there are fewer devices than the experiment asks for.
    """
    if experiment.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision_of(experiment))
    try:
        with distribute(experiment):
            yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def distribute(experiment: schema.Experiment):
    """Within this context variables are created on all of the experiment's devices, which share each batch."""
    count = experiment.devices
    if count <= 1:
        yield
        return
    devices = keras.distribution.list_devices()
    if len(devices) < count:
        raise EnvironmentFailure(f"devices={count}, but this process sees {len(devices)}: {', '.join(devices)}")
    if experiment.batch_size % count:
        what = f"{experiment.batch_size} cannot be divided among {count} devices"
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


def scale_for_devices(loss):
    """Divide a loss, a mean over one device's part of the batch, by the number of devices: gradients are summed."""
    if keras.backend.backend() != "tensorflow":
        return loss
    import tensorflow as tf

    return loss / tf.distribute.get_strategy().num_replicas_in_sync


def uses_xla(experiment: schema.Experiment) -> bool:
    """Return whether XLA compiles training steps. `auto`: on a GPU, and always on JAX, where a step that is not
    compiled took 1.17 s on a CPU against 0.10 s (MobileNetV2).
    """
    if experiment.xla != "auto":
        return experiment.xla == "on"
    return keras.backend.backend() == "jax" or on_gpu()
