"""Results in JSON's types: null for NaN, Python numbers for numpy's, absolute paths. Standard library only."""

import math
import numbers
import os
from pathlib import Path


def without_nan(value):
    """Replace NaN, which JSON does not have, by None in nested dictionaries and lists."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, numbers.Real) and math.isnan(value) else value


def to_json_type(value: object) -> object:
    """json's `default`: numpy numbers and arrays become numbers and lists, paths absolute text, the rest text."""
    if hasattr(value, "tolist"):
        return without_nan(value.tolist())
    return str(Path(value).absolute()) if isinstance(value, os.PathLike) else str(value)
