"""Age, sex and view of a radiograph as numbers, a second input of a network next to the image.

Fourth place's DenseNet121 of 2018 used them. View matters most: bedridden people are imaged AP, and are ill more often.
The user decides whether a network may use such a shortcut (`model.inputs`).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pneumonia.data.ages import plausible_ages

COLUMNS = {"age": ("years / 100, 0 where unknown", "known"), "sex": ("M", "F"), "view": ("AP", "PA")}
PERSON_FEATURES = tuple(COLUMNS)
N_PERSON_FEATURES = 6  # numbers per image, two for each of COLUMNS


def width_of(inputs: Sequence[str]) -> int:
    """How many numbers the features `inputs` have."""
    return sum(len(COLUMNS[name]) for name in inputs)


def person_features_of(table: pd.DataFrame) -> np.ndarray:
    """Encode a table's sex, age and view as (images, N_PERSON_FEATURES) float32: age as (years / 100, known), sex and
    view one-hot, zeros where unknown. Impossible ages count as unknown."""
    age = plausible_ages(pd.to_numeric(table["age"], errors="coerce")).to_numpy(dtype=np.float64)
    known = np.isfinite(age)
    columns = [np.where(known, age, 0.0) / 100, known]
    for name in ("sex", "view"):
        values = table[name].astype(object).to_numpy()
        columns += [values == value for value in COLUMNS[name]]
    return np.stack(columns, axis=1).astype(np.float32)


def select_features(person_features: np.ndarray, inputs: Sequence[str]) -> np.ndarray:
    """Select the columns of the features `inputs` from (n, N_PERSON_FEATURES), in their order."""
    starts = {name: 2 * position for position, name in enumerate(COLUMNS)}
    return np.concatenate([person_features[:, starts[name] : starts[name] + 2] for name in inputs], axis=1)


def model_input(images: np.ndarray, person_features: np.ndarray | None, inputs: Sequence[str]):
    """The input of a network: images (batch, size, size, 1) alone, or with the features `inputs`.

    person_features: (batch, N_PERSON_FEATURES), or None where they are unknown.
    """
    if not inputs:
        return images
    if person_features is None:
        person_features = np.zeros((len(images), N_PERSON_FEATURES), np.float32)
    return {"gray": images, "person": select_features(person_features, inputs)}
