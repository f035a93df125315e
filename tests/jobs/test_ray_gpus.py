"""A Ray cluster that says it has GPUs: each job sees those that it was given."""

import json
import os

import pytest

from pneumonia.jobs import ray_cluster
from pneumonia.jobs.executors import run_all
from pneumonia.system.errors import EnvironmentFailure

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def test_each_job_sees_its_gpus(stepper, tmp_path, monkeypatch):
    """Two jobs that meet have a GPU each; the third gets both. No GPU is touched, so none is needed here."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    before = dict(os.environ)
    pair = [stepper("a", f"meet={tmp_path / 'b'}"), stepper("b", f"meet={tmp_path / 'a'}")]
    both = stepper("both", gpus=2)
    with ray_cluster.connect(num_cpus=2, num_gpus=2):
        run_all([*pair, both], executor="ray")
        with pytest.raises(EnvironmentFailure, match=r"greedy: no node has 1 CPU, 3 GPU"):
            run_all([stepper("greedy", gpus=3)], executor="ray")
    os.environ.clear()
    os.environ.update(before)

    def seen(job):
        return json.loads((job.folder / "started.json").read_text())["CUDA_VISIBLE_DEVICES"]

    assert sorted(map(seen, pair)) == ["0", "1"]
    assert sorted(seen(both).split(",")) == ["0", "1"]
