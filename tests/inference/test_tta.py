import numpy as np
import pytest

from pneumonia.errors import BadInput
from pneumonia.inference.tta import VARIANTS, variants


@pytest.mark.parametrize("name", VARIANTS)
def test_boxes_come_back_exactly(name):
    """A model that finds the bright rectangle of whatever picture it is shown."""
    size, x, y, width, height = 64, 5, 11, 20, 30
    image = np.zeros((1, size, size, 1), np.uint8)
    image[0, y : y + height, x : x + width] = 255
    seen = VARIANTS[name].picture(image)[0, :, :, 0]
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    found = np.array([[columns[0], rows[0], len(columns), len(rows)]], float)
    assert VARIANTS[name].boxes_back(found, size).tolist() == [[x, y, width, height]]


def test_an_unknown_variant_lists_the_known_ones():
    with pytest.raises(BadInput, match="identity, flip"):
        variants(["flop"])
    with pytest.raises(BadInput):
        variants([])
