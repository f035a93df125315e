"""Subgroups: every image is in one of each kind."""

import pandas as pd

from pneumonia.metrics.subgroups import subgroups


def test_every_age_has_its_band_from_birth_on():
    table = pd.DataFrame({"age": [0, 0.5, 20, 21, 60, 61, None, 155], "sex": "F", "view": "AP"})
    rows = {value: chosen.nonzero()[0].tolist() for what, value, chosen in subgroups(table) if what == "age"}
    assert rows == {"up to 20": [0, 1, 2], "21 to 40": [3], "41 to 60": [4], "over 60": [5], "unknown": [6, 7]}
