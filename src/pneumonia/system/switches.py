"""Switches of a whole process, which libraries read from the environment when they are imported.

Nothing else in the package sets one. `__main__` and the entry of every worker process call `set_switches`, and child
processes inherit its values. Code that imports the package without `__main__` (a notebook, a benchmark) calls it first.
"""

import os

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

# A value that the user has set stays.
SWITCHES = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's C++ log: errors only
    ONEDNN: "1",  # oneDNN's convolutions; TensorFlow leaves them out on CPUs without VNNI or the like
    "NO_ALBUMENTATIONS_UPDATE": "1",  # albumentations asks a server for its newest version otherwise
    "MPLBACKEND": "agg",  # matplotlib draws into files and needs no screen
    "OPENCV_FOR_THREADS_NUM": "1",  # our loaders and processes are the parallelism; more threads in each slow them down
}


def set_switches() -> None:
    """Set them, before the first import of OpenCV, matplotlib, albumentations, segmentation-models or TensorFlow."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    os.environ["SM_FRAMEWORK"] = "tf.keras"  # the only name of segmentation-models that works with Keras 3
