"""Jobs as processes of this machine."""

import dataclasses
import json
import sys

import pytest

from pneumonia.jobs import sharing
from pneumonia.jobs.executors import run_all
from pneumonia.jobs.job import TrainJob, train_command
from pneumonia.system.errors import BadInput, EnvironmentFailure


def started(job):
    return json.loads((job.folder / "started.json").read_text())


def test_all_are_done_each_with_its_own_log(stepper, capfd):
    jobs = [stepper("a"), stepper("b")]
    run_all(jobs)
    assert (jobs[0].folder / "weights").read_bytes() == (jobs[1].folder / "weights").read_bytes()
    assert all("from step 0 of 6" in job.log.read_text() for job in jobs)
    said = capfd.readouterr().err
    assert "[1/2] a: done" in said and "[2/2] b: done" in said


def test_the_caller_hears_of_each_end_while_another_job_runs(stepper):
    jobs, left = [stepper("a"), stepper("b", "exit=7"), stepper("c")], []
    with pytest.raises(EnvironmentFailure, match="1 of 3 jobs failed"):
        run_all(
            jobs, after_each=lambda: left.append([not (job.folder / "weights").exists() for job in jobs].count(True))
        )
    assert len(left) == 2 and left[0] == 2


def test_a_job_that_fails_does_not_stop_the_others(stepper, capfd):
    jobs = [stepper("bad", "exit=7"), stepper("good"), stepper("worse", "exit=2")]
    with pytest.raises(EnvironmentFailure, match=r"2 of 3 jobs failed: bad \(exit code 7\), worse \(exit code 2\)"):
        run_all(jobs)
    assert (jobs[1].folder / "weights").exists()
    said = capfd.readouterr().err
    assert "this job fails" in said and str(jobs[0].log) in said


def test_a_job_that_cannot_be_started_does_not_stop_the_others(stepper, capfd):
    jobs = [stepper("before"), stepper("blocked"), stepper("after")]
    jobs[1].folder.touch()  # a file where its folder would be
    with pytest.raises(
        EnvironmentFailure, match=r"1 of 3 jobs failed: blocked \(exit code 3, it cannot be started: .*blocked"
    ):
        run_all(jobs)
    assert all((job.folder / "weights").exists() for job in (jobs[0], jobs[2]))
    assert "Traceback" not in capfd.readouterr().err


def test_bad_input_everywhere_is_bad_input(stepper):
    with pytest.raises(BadInput, match="2 of 2 jobs failed"):
        run_all([stepper("a", "exit=2"), stepper("b", "exit=2")])


def test_the_address_of_a_cluster_that_is_not_used_is_refused(stepper):
    job = stepper("a")
    with pytest.raises(BadInput, match=r"ray_address: .*executor=local runs on this machine; add executor=ray"):
        run_all([job], ray_address="ray://head:10001")
    assert not (job.folder / "weights").exists()


def test_a_job_alone_speaks_for_itself(stepper, capfd):
    job = stepper("a")
    run_all([job])
    assert capfd.readouterr().err == "from step 0 of 6\n"
    assert not job.log.exists()


def test_gpus_are_shared_out_and_threads_set(stepper, tmp_path, monkeypatch):
    """The first two meet: they run side by side. The third waits until it has both GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    pair = [stepper("a", f"meet={tmp_path / 'b'}"), stepper("b", f"meet={tmp_path / 'a'}")]
    both = stepper("both", gpus=2)
    run_all([*pair, both], threads=3)
    assert [started(job)["CUDA_VISIBLE_DEVICES"] for job in pair] == ["4", "5"]
    assert sorted(started(both)["CUDA_VISIBLE_DEVICES"].split(",")) == ["4", "5"]
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        assert started(both)[name] == "3"
    with pytest.raises(EnvironmentFailure, match="greedy: needs more than the 2 GPUs"):
        run_all([stepper("greedy", gpus=3)])


def test_jobs_with_few_threads_share_the_cores(stepper, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sharing, "count_cores", lambda: 2)
    run_all([stepper("a", f"meet={tmp_path / 'b'}"), stepper("b", f"meet={tmp_path / 'a'}")], threads=1)
    said = capfd.readouterr().err
    assert "2 networks are trained at once, each with 1 of" in said
    assert said.index("b: running") < said.index("a: done") and "from step" not in said


def test_jobs_that_do_not_fit_into_memory_together_run_one_after_the_other(stepper, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sharing, "count_cores", lambda: 2)
    monkeypatch.setattr(sharing, "usable_memory", lambda: 6.0)
    run_all([dataclasses.replace(stepper(name), memory=4.0) for name in ("a", "b")], threads=1)
    said = capfd.readouterr().err
    assert "at once" not in said and said.index("a: done") < said.index("b: running")
    assert said.count("from step 0 of 6") == 2


def test_without_threads_the_environment_is_left_alone(stepper, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    job = stepper("a", gpus=2)  # on a CPU it asks for nothing
    run_all([job])
    assert started(job)["TF_NUM_INTRAOP_THREADS"] is None


def test_a_job_reaches_the_command_line_of_train(tmp_path):
    command = train_command(tmp_path / "none_such")
    assert command[:4] == (sys.executable, "-P", "-m", "pneumonia")
    with pytest.raises(BadInput, match="1 of 1 jobs failed"):
        run_all([TrainJob("none", tmp_path, command)])
