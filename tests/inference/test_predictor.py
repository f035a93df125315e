"""What `run=` may name: an exported network or ensemble whose table of contents is damaged."""

import pytest

from pneumonia.inference.predictor import source_of
from pneumonia.system.errors import BadInput


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("ensemble.json", "{"),
        ("ensemble.json", "{}"),
        ("ensemble.json", "[]"),
        ("network.json", '{"files":'),
        ("network.json", '{"files": {"network.onnx": "0"}}'),
        ("network.json", "null"),
    ],
)
def test_a_damaged_table_of_contents_is_named(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    with pytest.raises(BadInput, match=rf"{file}: is missing or damaged; export or copy the folder again"):
        source_of(tmp_path, "auto")
