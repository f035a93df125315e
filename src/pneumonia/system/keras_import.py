"""Import Keras and keras-cv: without the log lines of TensorFlow's start, and without packages that nobody uses here.

Keras imports scikit-learn, pandas and matplotlib, and keras-cv kagglehub, only to offer adapters for them; each is
optional there, and together they take seconds. JAX, which TensorFlow imports for the same reason, stays:
$KERAS_BACKEND or ~/.keras/keras.json may name it as Keras's backend.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

UNUSED_BY_KERAS = ("matplotlib", "pandas", "sklearn")
UNUSED_BY_KERAS_CV = ("kagglehub", "matplotlib")


def import_keras_quietly() -> None:
    """Import Keras and its backend, and drop what C++ code writes to stderr before its log level is set.

    A Python error is an exception and is still raised.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        with as_if_not_installed(UNUSED_BY_KERAS):
            import keras

        keras.distribution.list_devices()  # starts the device drivers, which write log lines too
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


def import_keras_cv() -> ModuleType:
    with as_if_not_installed(UNUSED_BY_KERAS_CV):
        import keras_cv
    return keras_cv


@contextlib.contextmanager
def as_if_not_installed(names) -> Iterator[None]:
    """Within this context these packages cannot be imported; those that have been imported before stay."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # None makes `import` raise ModuleNotFoundError
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
