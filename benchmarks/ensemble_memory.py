"""Peak memory and time of an ensemble of the competition's size: 25 members x 26,684 images x 20 boxes.

    PYTHONPATH=src .venv/bin/python benchmarks/ensemble_memory.py [trials]

It does what `ensemble` does in one of its folds: remove duplicates, fit a recipe to four fifths of the images
(calibrations, the given number of trials, threshold), and apply it. The tables alone are 534 MB.

Measured on 2 shared cores of an AMD EPYC: fit with 2 trials 8 s, apply 2.2 s, peak memory 1.59 GiB.
"""

import resource
import sys
import time

import numpy as np

from fusion import MODELS, members
from pneumonia.boxes.predictions import offsets_of
from pneumonia.ensemble.nested import remove_duplicates
from pneumonia.ensemble.recipe import Member, Recipe, apply
from pneumonia.ensemble.tune import Problem, Search, fit
from pneumonia.metrics.iou_map import Truth


def main(trials: int) -> None:
    images = 26_684
    tables = members(images)
    generator = np.random.default_rng(1)
    counts = (generator.random(images) < 0.225).astype(np.int64)
    rows = tables[0].offsets[:-1][counts > 0]
    truth = Truth(tables[0].ids, offsets_of(counts), tables[0].boxes[rows])
    problem = Problem(tables, [], truth, np.arange(images) // 2)
    recipe = Recipe([Member(f"member {number}") for number in range(MODELS)])
    start = time.perf_counter()
    remove_duplicates(recipe, problem)
    fitted = fit(problem.rows(np.flatnonzero(np.arange(images) // 2 % 5)), recipe, Search(trials))
    middle = time.perf_counter()
    apply(fitted, problem.members)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"fit with {trials} trials {middle - start:.0f} s, apply {end - middle:.1f} s, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
