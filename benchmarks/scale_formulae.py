"""The formulae of docs/scale.md. Seconds are arrays (2,): of the wall clock, and of the processors."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pneumonia import schema
from pneumonia.data.cache import cached_size
from pneumonia.data.ingest import WORTH_A_PROCESS
from pneumonia.system.processes import count_cores
from scale_costs import IN_EVERY_RUN, N_FOLDS, POSITIVE, TABLES


@dataclass(frozen=True)
class Job:
    """fold=0 of the job, or all of its folds: what its time depends on beside the unit costs."""

    train: int  # training images of all folds
    test: int
    folds: int = 1
    devices: int = 1
    positive: float = POSITIVE

    @property
    def images(self) -> int:
        return self.train + self.test

    @property
    def held_out(self) -> float:
        return self.train / N_FOLDS


def run_seconds(job: Job, experiment: schema.Experiment, unit: dict, costs: dict) -> np.ndarray:
    """One run: start, a look at the cache, epochs, predictions. (2,) wall clock, processors."""
    training = job.train - job.held_out
    inner = experiment.inner_val_fraction * training
    shown = experiment.sampling.images or training - inner
    epoch = unit["of_epoch"] + shown * unit["train"] + inner * unit["look"]
    prepared = job.images * costs["caches"][cached_size(experiment.image_size)]["verify"] + checked(job, costs)
    prepared += job.train * sum(costs[name] for name in IN_EVERY_RUN)
    return unit["start"] + prepared + experiment.epochs * epoch + (job.held_out + job.test) * unit["predict"]


def job_seconds(job: Job, experiments: dict, units: dict, costs: dict) -> tuple[np.ndarray, np.ndarray]:
    """The job, and of it all the runs as if one device had done them. (2,) wall clock, processors."""
    runs = [run_seconds(job, each, units[name], costs) for name, each in experiments.items()] * job.folds
    workers = np.array([max(1, min(count_cores(), job.images // WORTH_A_PROCESS)), 1])
    own = sum(costs["caches"][size]["ingest"] for size in cached_sizes(experiments)) * job.images / workers
    own = own + checked(job, costs) + job.train * sum(costs[name] for name in TABLES)
    own += costs["fuse_fixed"] + job.folds * job.held_out * costs["fuse"]
    shared = np.array([makespan([wall for wall, _ in runs], job.devices), sum(busy for _, busy in runs)])
    return costs.get("job", 0.0) + own + shared, sum(runs)


def checked(job: Job, costs: dict) -> np.ndarray:
    """Seconds of opening the folder and reading the headers by which boxes are checked."""
    return job.images * costs["open"] + job.positive * job.train * costs["header"]


def makespan(seconds: Iterable[float], devices: int) -> float:
    """Until the last run ends, where each takes the first device that is free, in this order."""
    free = [0.0] * devices
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def cached_sizes(experiments: dict) -> list[int]:
    """Sides of the squares that the members' images are made from; the job ingests each of them."""
    return sorted({cached_size(each.image_size) for each in experiments.values()})


def disk_bytes(job: Job, experiments: dict, units: dict, costs: dict) -> float:
    """Caches, weights and prediction tables, when the job is done."""
    weights = job.folds * sum(unit["weights_bytes"] for unit in units.values())
    tables = job.folds * (job.held_out + job.test) * costs["table_bytes"]
    caches = sum(costs["caches"][size]["cache_bytes"] for size in cached_sizes(experiments))
    return job.images * caches + weights + tables
