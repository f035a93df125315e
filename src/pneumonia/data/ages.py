"""Ages in years from DICOM headers."""

import math
import re

import pandas as pd

OLDEST = 110  # years; higher ages are errors in the headers
PER_YEAR = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", re.ASCII | re.IGNORECASE)


def years_of(text: str) -> float:
    """Years of an age: 045Y, 018M, 006W, 010D in DICOM; many files and tables have 45 or 45.0. NaN for other texts."""
    age = AGE.fullmatch(text.strip())
    return float(age[1]) / PER_YEAR[age[2].upper()] if age else math.nan


def plausible_ages(ages: pd.Series) -> pd.Series:
    """Ages in years, with NaN for impossible ones; models get these."""
    return ages.where(ages <= OLDEST)
