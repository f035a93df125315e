"""`./run.sh train`: what it trains itself, and what it hands over as jobs."""

import os
import subprocess
import sys

import pytest

from pneumonia import config, schema
from pneumonia.commands import train as pipeline
from pneumonia.system.errors import BadInput

SMALL = ("experiment=mobilenetv2", "preset=smoke", "data=demo", "model.alpha=0.35")


@pytest.fixture
def handed_over(monkeypatch):
    """Arguments of run_all, which does nothing."""
    calls = []
    monkeypatch.setattr(pipeline, "run_all", lambda *arguments: calls.append(arguments))
    return calls


def train(tmp_path, *words):
    return pipeline.train(config.from_arguments(schema.Train, [*SMALL, f"out={tmp_path}", *words]))


@pytest.mark.parametrize("fold", ["0", "all"])
def test_an_unknown_executor_is_refused_however_many_folds(handed_over, tmp_path, monkeypatch, fold):
    monkeypatch.setattr(pipeline, "prepare", lambda *_: pytest.fail("it read the data"))
    with pytest.raises(BadInput, match="executor: 'slurm' is not allowed; known: local, ray"):
        train(tmp_path, f"fold={fold}", "executor=slurm")


@pytest.mark.parametrize(
    ("words", "executor", "address", "threads"),
    [
        (("executor=ray", "ray_address=node:6379"), "ray", "node:6379", 0),
        (("job_threads=1",), "local", "", 1),
    ],
)
def test_one_fold_is_a_job_where_it_is_to_run_elsewhere_or_with_threads(
    handed_over, tmp_path, words, executor, address, threads
):
    result = train(tmp_path, "fold=3", *words)
    [((job,), *where)] = handed_over
    assert where == [executor, address, threads]
    assert [job.folder] == result["runs"] and job.folder.name == "fold3"
    assert job.command[-2:] == ("train_run", f"run={job.folder}")  # which says neither: it trains where it is
    assert (job.folder / "config.yaml").is_file() and (job.folder / "run.json").is_file()


WATCHED = """
import sys
from pneumonia import cli
from pneumonia.commands import train as pipeline
def run_all(jobs, *_):
    print(*(job.folder.name for job in jobs), *({"keras", "tensorflow", "jax", "torch"} & set(sys.modules)))
pipeline.run_all = run_all
if __name__ == "__main__":
    sys.exit(cli.main(["train", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How `train fold=all` ended in a process of its own, where jobs are only named, with the modules then awake."""
    script = tmp_path_factory.mktemp("watched") / "watched.py"
    script.write_text(WATCHED)
    env = {**os.environ, "PYTHONPATH": str(config.REPOSITORY / "src")}

    def run(*words):
        command = [sys.executable, "-P", script, *SMALL, "n_folds=3", "fold=all", f"out={script.parent}", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    return run


def test_every_fold_is_a_job_and_the_parent_leaves_keras_asleep(ended):
    done = ended()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "fold0 fold1 fold2"


def test_what_no_network_can_be_is_one_line_before_any_job(ended):
    done = ended("image_size=100", "experiment=mobilenet_unet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: image_size: 100 is not a size for mobilenet_unet")
    assert done.stderr.count("\n") == 1
