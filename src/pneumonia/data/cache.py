"""Image cache."""

from pathlib import Path

import numpy as np
import pandas as pd


class Cache:
    def __init__(self, folder: Path):
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.index = pd.read_csv(folder / "index.csv", dtype={"patientId": str}, keep_default_na=False)
        self.size = self.pixels.shape[1]
        self.rows = {image: row for row, image in enumerate(self.index["patientId"])}

    def row_of(self, image: str) -> int:
        return self.rows[image]
