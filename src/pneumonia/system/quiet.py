"""TensorFlow's start-up without its chatter."""

import os
import sys


def import_keras_quietly() -> None:
    """Import Keras and its backend; what C++ writes to stderr on the way (its log level comes too late for it) is
    dropped. A Python error is an exception and still comes through.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras

        keras.distribution.list_devices()  # wakes the device drivers, which chatter too
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
