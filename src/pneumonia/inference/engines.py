"""Run exported networks with the libraries that they are exported for. Each takes what the network takes: pictures
(batch, size, size, 1) uint8 gray, any number of them; and returns its outputs by name, as numpy.

The libraries are optional: ./run.sh install extra=export. ONNX Runtime needs no TensorFlow.
"""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pneumonia.system.errors import EnvironmentFailure

Engine = Callable[[np.ndarray], dict[str, np.ndarray]]
INSTALL = "./run.sh install extra=export"


def open_onnx(file: Path) -> Engine:
    session = import_package("onnxruntime").InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (gray,) = (given.name for given in session.get_inputs())
    names = [output.name for output in session.get_outputs()]
    return lambda pictures: dict(zip(names, session.run(names, {gray: pictures})))


def open_saved_model(folder: Path) -> Engine:
    tensorflow = import_package("tensorflow")
    loaded = tensorflow.saved_model.load(str(folder))

    def run(pictures: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(value) for name, value in loaded.serve(tensorflow.constant(pictures)).items()}

    run.loaded = loaded  # its variables live as long as it does
    return run


def open_litert(file: Path) -> Engine:
    with warnings.catch_warnings():  # it recommends a package that the lock cannot have: its own needs are not met
        warnings.simplefilter("ignore")
        interpreter = import_package("tensorflow").lite.Interpreter(str(file))
    signature = interpreter.get_signature_runner()
    (gray,) = signature.get_input_details()
    return lambda pictures: {name: np.array(value) for name, value in signature(**{gray: pictures}).items()}


def import_package(name: str):
    """Import an optional package. Raises EnvironmentFailure where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EnvironmentFailure(f"{name}: is not installed; {INSTALL}") from error
