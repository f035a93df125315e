"""`./run.sh train`: what it trains itself, and what it hands over as jobs."""

import pytest

from pneumonia import config, pipeline, schema
from pneumonia.errors import BadInput

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
    with pytest.raises(BadInput, match="there is no executor 'slurm'; known: local, ray"):
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
    """The job's own command line says neither: it trains where it is."""
    result = train(tmp_path, "fold=3", *words)
    [((job,), *where)] = handed_over
    assert where == [executor, address, threads]
    assert [job.folder] == result["runs"] and job.folder.name == "fold3"
    told = config.from_arguments(schema.Train, list(job.command[job.command.index("train") + 1 :]))
    assert (told.fold, told.executor, told.job_threads, told.out) == ("3", "local", 0, str(tmp_path))


def test_every_fold_is_a_job(handed_over, tmp_path):
    train(tmp_path, "fold=all", "n_folds=3")
    [(jobs, *where)] = handed_over
    assert [job.folder.name for job in jobs] == ["fold0", "fold1", "fold2"] and where == ["local", "", 0]
