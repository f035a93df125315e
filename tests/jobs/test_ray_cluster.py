"""The same jobs as tasks of a Ray cluster that is started here."""

import json
import os
import signal
import threading
import time

import pytest

from pneumonia.jobs import process, ray_cluster
from pneumonia.jobs.executors import run_all
from pneumonia.system.errors import EnvironmentFailure

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def ray():
    with ray_cluster.connect(num_cpus=2, num_gpus=0) as ray:
        yield ray


@pytest.fixture(scope="module", autouse=True)
def environment_as_it_was():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def attempts_of(job):
    return job.log.read_text().count(process.ATTEMPT) if job.log.exists() else 0


def test_all_are_done_side_by_side_and_threads_set(ray, stepper, tmp_path, capfd):
    jobs = [stepper("a", f"meet={tmp_path / 'b'}"), stepper("b", f"meet={tmp_path / 'a'}")]
    run_all(jobs, executor="ray", threads=1)
    assert (jobs[0].folder / "weights").read_bytes() == (jobs[1].folder / "weights").read_bytes()
    environment = json.loads((jobs[0].folder / "started.json").read_text())
    assert environment["TF_NUM_INTRAOP_THREADS"] == environment["OMP_NUM_THREADS"] == "1"
    said = capfd.readouterr().err
    assert "a: running" in said and "[2/2]" in said
    assert not [file for file in tmp_path.iterdir() if file.is_file()]


def test_the_environment_is_the_drivers_not_the_workers(ray, stepper, monkeypatch):
    """Ray gives its workers one OMP thread; that would change bits."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    job = stepper("a")
    run_all([job], executor="ray")
    assert json.loads((job.folder / "started.json").read_text())["OMP_NUM_THREADS"] is None


def test_a_job_that_fails_does_not_stop_the_others(ray, stepper, capfd):
    jobs = [stepper("bad", "exit=7"), stepper("good")]
    with pytest.raises(EnvironmentFailure, match=r"1 of 2 jobs failed: bad \(exit code 7\)"):
        run_all(jobs, executor="ray")
    assert (jobs[1].folder / "weights").exists()
    assert "this job fails" in capfd.readouterr().err


def test_a_job_that_cannot_be_started_does_not_stop_the_others(ray, stepper, capfd):
    jobs = [stepper("before"), stepper("blocked"), stepper("after")]
    jobs[1].folder.touch()  # a file where its folder would be
    with pytest.raises(
        EnvironmentFailure, match=r"1 of 3 jobs failed: blocked \(exit code 3, it cannot be started: .*blocked"
    ):
        run_all(jobs, executor="ray")
    assert all((job.folder / "weights").exists() for job in (jobs[0], jobs[2]))
    assert "Traceback" not in capfd.readouterr().err


def test_a_killed_worker_is_replaced_and_the_result_is_the_same(ray, stepper, capfd):
    calm, disturbed = stepper("calm"), stepper("disturbed", "pause=3")
    disturbed.folder.mkdir()
    (disturbed.folder / "pause").touch()

    def kill_the_worker():
        while not (disturbed.folder / "paused").exists():
            time.sleep(0.05)
        os.kill(json.loads((disturbed.folder / "started.json").read_text())["parent"], signal.SIGKILL)
        while attempts_of(disturbed) < 2:
            time.sleep(0.05)
        (disturbed.folder / "pause").unlink()

    killer = threading.Thread(target=kill_the_worker, daemon=True)
    killer.start()
    run_all([calm, disturbed], executor="ray")
    killer.join()
    assert (calm.folder / "weights").read_bytes() == (disturbed.folder / "weights").read_bytes()
    assert attempts_of(disturbed) == 2
    said = capfd.readouterr()
    assert "disturbed: its worker was lost; attempt 2" in said.err and "2 attempts, as workers were lost" in said.err
    assert said.out == ""


def test_another_driver_adds_to_a_runs_log_and_is_taken_for_no_lost_worker(ray, stepper, capfd):
    job, other = stepper("a", "pause=3"), stepper("b")
    job.folder.mkdir()
    (job.folder / "pause").touch()

    def come_second():
        while not (job.folder / "paused").exists():
            time.sleep(0.05)
        with pytest.raises(EnvironmentFailure, match="1 of 2 jobs failed"):
            run_all([job, other])
        (job.folder / "pause").unlink()

    second = threading.Thread(target=come_second, daemon=True)
    second.start()
    run_all([job], executor="ray")
    second.join()
    text = job.log.read_text()
    assert text.startswith(f"{process.ATTEMPT} 1,") and "from step 0 of 6" in text
    assert attempts_of(job) == 2 and "is held by process" in text
    assert "worker was lost" not in capfd.readouterr().err


def test_a_job_too_large_for_every_node_is_refused(ray, stepper):
    with pytest.raises(EnvironmentFailure, match=r"a: no node has 64 CPU"):
        run_all([stepper("a")], executor="ray", threads=64)


def test_a_node_that_does_not_see_the_runs_folder_is_named(ray, stepper, monkeypatch):
    """The node reads another path, as a node does where the folder is not mounted."""
    check_node = process.check_node
    monkeypatch.setattr(process, "check_node", lambda token, python: check_node(token + ".elsewhere", python))
    job = stepper("a")
    with pytest.raises(EnvironmentFailure, match=r"node .* does not see"):
        run_all([job], executor="ray")
    assert not job.log.exists()
