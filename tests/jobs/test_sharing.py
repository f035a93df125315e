"""How many jobs run at once without a GPU, and with how many threads."""

import pytest

from pneumonia import config, schema
from pneumonia.commands import folds_and_runs
from pneumonia.jobs import sharing
from pneumonia.system import processes


@pytest.fixture
def machine(monkeypatch):
    def set_machine(cores, memory):
        monkeypatch.setattr(sharing, "count_cores", lambda: cores)
        monkeypatch.setattr(sharing, "usable_memory", lambda: memory)
        monkeypatch.setattr(folds_and_runs, "gpu_names", list)

    return set_machine


@pytest.mark.parametrize(
    ("cores", "gib", "jobs", "threads", "at_once"),
    [
        (2, 19.0, [2.4, 1.9, 3.9], 1, 2),
        (16, 51.0, [3.9, 3.9, 3.9], 5, 3),
        (16, 13.0, [3.9] * 15, 5, 3),  # no more fit into memory
        (16, 500.0, [3.9] * 15, 1, 15),
        (2, 4.0, [3.9, 3.9], 0, 1),
        (2, 1.0, [3.9, 3.9], 0, 1),
        (1, 19.0, [2.4, 1.9], 0, 1),
        (8, 19.0, [2.4], 0, 1),
    ],
)
def test_cores_and_memory_are_shared_out(machine, cores, gib, jobs, threads, at_once):
    machine(cores, gib)
    assert sharing.threads_of_jobs(jobs) == threads
    assert sharing.jobs_at_once(jobs, threads) == at_once


def test_the_estimate_holds_for_what_was_measured():
    experiment = config.read_experiment("yolov8_lite0", "quick")
    assert 3.0 < sharing.memory_of(experiment) < 4.5
    assert sharing.memory_of(config.read_experiment("yolov8_lite0", "full")) > 8


def test_threads_of_a_command(machine):
    machine(4, 19.0)
    job, experiment = schema.Job(), config.read_experiment("mobilenetv2", "smoke")
    assert folds_and_runs.job_threads(job, [experiment] * 2) == 2
    assert folds_and_runs.job_threads(schema.Job(job_threads=3), [experiment] * 2) == 3
    assert folds_and_runs.job_threads(schema.Job(executor="ray"), [experiment] * 2) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 1},
        {"model": {"weights": "run:densenet121-quick"}},
        {"sampling": {"positives": 0.5, "hard_negatives": 0.5, "hard_from": "unet_lite0-quick"}},
        {"pseudo_labels": {"experiment": "unet_lite0-quick"}},
    ],
)
def test_what_starts_from_another_run_waits_for_it(machine, changes):
    machine(4, 19.0)
    experiment = config.read_experiment("unet_lite0", "quick", changes)
    assert folds_and_runs.job_threads(schema.Job(), [experiment] * 2) == 0


def test_a_container_s_limit_counts(tmp_path, monkeypatch):
    limit, no_limit = tmp_path / "memory.max", tmp_path / "no limit"
    limit.write_text("2147483648\n")
    no_limit.write_text("max\n")
    monkeypatch.setattr(processes, "CONTAINER_LIMITS", (no_limit, tmp_path / "missing"))
    whole = processes.usable_memory()
    monkeypatch.setattr(processes, "CONTAINER_LIMITS", (limit, no_limit))
    assert processes.usable_memory() == pytest.approx(min(1.6, whole))
