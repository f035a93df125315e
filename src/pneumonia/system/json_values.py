"""Results as JSON can hold them: null for NaN, plain numbers for numpy's, absolute paths. Standard library only."""

import math
import numbers
import os
from pathlib import Path


def without_nan(value):
    """What was not measurable as null: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, numbers.Real) and math.isnan(value) else value


def plain(value: object) -> object:
    """What json does not know: numpy numbers and arrays as numbers and lists, paths absolute."""
    if hasattr(value, "tolist"):
        return without_nan(value.tolist())
    return str(Path(value).absolute()) if isinstance(value, os.PathLike) else str(value)
