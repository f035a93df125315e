"""Private parts of Keras and keras-cv stand in one file."""

import ast
from pathlib import Path

import keras
import pytest

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
