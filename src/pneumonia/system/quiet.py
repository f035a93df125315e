"""Import of Keras without the log lines of TensorFlow's start."""

import os
import sys


def import_keras_quietly() -> None:
    """Import Keras and its backend, and drop what C++ code writes to stderr before its log level is set.

    A Python error is an exception and is still raised.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        import keras

        keras.distribution.list_devices()  # starts the device drivers, which write log lines too
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)
