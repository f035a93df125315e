"""Patient-grouped stratified folds."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from pneumonia import config
from pneumonia.data.competition import Competition
from pneumonia.files import written_whole


def fold_table(competition: Competition, study: pd.DataFrame, n_folds: int, seed: int) -> tuple[Path, pd.DataFrame]:
    fold = np.zeros(len(study), dtype=np.int64)
    split = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(study, study["class"], study["group"])
    for number, (_, held_out) in enumerate(split):
        fold[held_out] = number
    table = study[["patientId", "group"]].assign(fold=fold)
    path = config.REPOSITORY / "folds" / f"{competition.name}-{competition.content_key}-{n_folds}-seed{seed}.csv"
    with written_whole(path) as file:
        table.to_csv(file, index=False)
    return path, table
