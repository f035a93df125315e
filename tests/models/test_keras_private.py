"""Private parts of Keras and keras-cv stand in one file."""

import ast
import contextlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pneumonia.models import keras_private

SOURCE = Path(keras_private.__file__).parents[1]
PUBLIC = {"_asdict", "_fields", "_make", "_replace", "_exit"}  # of named tuples, and of os


def private_parts(code: str) -> list[str]:
    """Private attributes of objects other than `self` and `cls`, imports from a private module, and unittest."""
    parts = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            is_private = node.attr.startswith("_") and not node.attr.startswith("__")
            if (is_private and not is_own and node.attr not in PUBLIC) or node.attr == "src":
                parts.append(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [f"{getattr(node, 'module', '')}.{alias.name}".lstrip(".") for alias in node.names]
            parts += [name for name in names if ".src." in f"{name}." or "._" in name or name.startswith("unittest")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("keras."):
            parts += [node.value] if ".src" in node.value or "._" in node.value else []
    return parts


def test_no_other_file_uses_private_parts():
    users = {file.name: private_parts(file.read_text()) for file in SOURCE.rglob("*.py")}
    assert {name for name, parts in users.items() if parts} == {"keras_private.py"}


@pytest.mark.parametrize(
    "code",
    [
        "layers = model._flatten_layers()",
        "averages = self.optimizer._model_variables_moving_average",
        "from keras.src.utils import file_utils",
        "import keras.src",
        "keras.src.utils",
        "from unittest import mock",
        "importlib.import_module('keras._tf_keras.keras.utils')",
    ],
)
def test_the_search_finds_what_was_used_before(code):
    assert private_parts(code)


def test_get_file_is_replaced_inside_only_also_after_an_error():
    before = keras.utils.get_file
    with pytest.raises(OSError), keras_private.replace_get_file(len):
        assert keras.utils.get_file is len
        raise OSError
    assert keras.utils.get_file is before


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 0.1}])
def test_fused_batch_norm_has_the_values_gradients_and_averages_of_keras(options):
    images = np.random.default_rng(0).normal(3.0, 2.0, (4, 6, 5, 7)).astype("float32")

    def step(context):
        layer = keras.layers.BatchNormalization(**options)
        layer.build(images.shape)
        tensor = tf.constant(images)

        @tf.function
        def outputs_and_gradients():
            with context, tf.GradientTape() as tape:
                tape.watch(tensor)
                outputs = layer(tensor, training=True)
                loss = tf.reduce_sum(outputs**3)
            return outputs, tape.gradient(loss, [tensor, *layer.trainable_variables])

        outputs, gradients = outputs_and_gradients()
        return [outputs, *gradients, layer.moving_mean, layer.moving_variance], outputs_and_gradients

    expected, _ = step(contextlib.nullcontext())
    values, function = step(keras_private.fused_batch_norm())
    assert "FusedBatchNormV3" in {
        operation.type for operation in function.get_concrete_function().graph.get_operations()
    }
    assert len(values) == len(expected)
    for value, right in zip(values, expected):
        np.testing.assert_allclose(np.array(value), np.array(right), rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "shape", "training"),
    [
        ({}, (4, 3), True),
        ({"axis": 1}, (2, 3, 4, 5), True),
        ({"dtype": "mixed_bfloat16"}, (2, 3, 4, 5), True),
    ],
)
def test_other_batch_normalisation_stays_that_of_keras(options, shape, training):
    inputs = np.random.default_rng(0).normal(3.0, 2.0, shape).astype("float32")
    results = []
    for context in (contextlib.nullcontext(), keras_private.fused_batch_norm()):
        layer = keras.layers.BatchNormalization(**options)
        with context:
            results.append([layer(inputs, training=training), layer.moving_mean, layer.moving_variance])
    for value, right in zip(*results):
        np.testing.assert_array_equal(np.array(value), np.array(right))


@pytest.mark.parametrize(
    ("options", "training"), [({}, False), ({"scale": False, "center": False}, False), ({"trainable": False}, True)]
)
def test_frozen_and_predicting_layers_use_their_averages(options, training):
    rng = np.random.default_rng(0)
    inputs = rng.normal(3.0, 2.0, (2, 3, 4, 5)).astype("float32")
    layer = keras.layers.BatchNormalization(**options)
    layer.build(inputs.shape)
    for variable in layer.weights:
        variable.assign(rng.uniform(0.5, 2.0, variable.shape))
    before = [np.array(variable) for variable in layer.weights]

    @tf.function
    def fused():
        with keras_private.fused_batch_norm():
            return layer(inputs, training=training)

    np.testing.assert_allclose(fused().numpy(), np.array(layer(inputs, training=training)), rtol=1e-5, atol=1e-5)
    operations = fused.get_concrete_function().graph.get_operations()
    assert "FusedBatchNormV3" in {operation.type for operation in operations}
    for variable, value in zip(layer.weights, before):
        np.testing.assert_array_equal(np.array(variable), value)


def test_batch_normalisation_is_that_of_keras_outside():
    before = keras.layers.BatchNormalization.call
    with pytest.raises(OSError), keras_private.fused_batch_norm():
        assert keras.layers.BatchNormalization.call is not before
        raise OSError
    assert keras.layers.BatchNormalization.call is before
