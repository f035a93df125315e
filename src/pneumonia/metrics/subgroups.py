"""Subgroups of images by sex, age band and view, to compare how a model performs on them."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from pneumonia.data.ages import plausible_ages
from pneumonia.data.folds import AGE_BANDS


def subgroups(table: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (column, value, (n,) bool) for each value of sex, age band in years and view, also "unknown".

    Args:
        table: has columns sex, age (years) and view.
    """
    ages = plausible_ages(pd.to_numeric(table["age"], errors="coerce"))
    names = [f"up to {AGE_BANDS[1]}", *(f"{low + 1} to {high}" for low, high in pairwise(AGE_BANDS[1:-1]))]
    bands = pd.cut(ages, AGE_BANDS, labels=[*names, f"over {AGE_BANDS[-2]}"], include_lowest=True)
    columns = {"sex": table["sex"], "age": bands.astype(object), "view": table["view"]}
    for column, values in columns.items():
        known = values.astype(object).where(values.notna() & (values != ""), "unknown")
        order = [*bands.cat.categories] if column == "age" else sorted(map(str, known.unique()))
        for value in dict.fromkeys((*order, "unknown")):
            if (known == value).any():
                yield column, value, (known == value).to_numpy()
