"""What `auto` means for the number format and for XLA, on a GPU and on a CPU."""

import keras
import pytest

from pneumonia.runs import precision
from pneumonia.schema import Experiment


@pytest.mark.parametrize(("gpu", "format"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_auto_precision_is_bfloat16_on_a_gpu_only(monkeypatch, gpu, format):
    monkeypatch.setattr(precision, "on_gpu", lambda: gpu)
    assert precision.precision_of(Experiment()) == format
    assert precision.precision_of(Experiment(precision="mixed_float16")) == "mixed_float16"
    with precision.compute_policy(Experiment()):
        assert keras.config.dtype_policy().name == format
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("backend", "gpu", "compiled"),
    [("tensorflow", True, True), ("tensorflow", False, False), ("jax", True, True), ("jax", False, True)],
)
def test_auto_compiles_on_a_gpu_and_with_jax_everywhere(monkeypatch, backend, gpu, compiled):
    monkeypatch.setattr(precision, "on_gpu", lambda: gpu)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert precision.uses_xla(Experiment(xla="auto")) == compiled
    assert precision.uses_xla(Experiment(xla="on")) and not precision.uses_xla(Experiment(xla="off"))
