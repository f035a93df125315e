"""What benchmarks/executors.py says about bits, and about the process that went on."""

from pathlib import Path

import pytest

from pneumonia.jobs.process import attempt_line

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def executors(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import executors

    return executors


@pytest.mark.parametrize(("other", "bits"), [(b"abc", 0), (b"abb", 1), (b"`bc", 1), (b"ab", 8), (b"", 24)])
def test_bits_that_differ_are_counted(executors, other, bits):
    assert executors.different_bits(b"abc", other) == executors.different_bits(other, b"abc") == bits


def test_files_of_one_folder_only_are_no_equality(executors, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name / "runs" / "demo" / "unet" / "fold0").mkdir(parents=True)
        (tmp_path / name / "runs" / "demo" / "unet" / "fold0" / "oof_detections.csv").write_text(name)
    assert executors.compare(tmp_path / "one", tmp_path / "one") == (1, 0)
    files, bits = executors.compare(tmp_path / "one", tmp_path / "other")
    assert files == 1 and bits > 0
    (tmp_path / "one" / "runs" / "demo" / "unet" / "fold0" / "weights.safetensors").touch()
    with pytest.raises(SystemExit, match="weights"):
        executors.compare(tmp_path / "one", tmp_path / "other")


def test_the_second_process_is_quoted_and_a_run_of_one_process_is_refused(executors, tmp_path):
    first, second = (
        f"{attempt_line(1, 'x')}unet: epoch 1/3\n",
        f"{attempt_line(2, 'x')}unet: goes on after epoch 1/3\nunet: epoch 2/3\n",
    )
    (tmp_path / "train.log").write_text(first + second)
    assert executors.second_process(tmp_path) == "unet: goes on after epoch 1/3"
    (tmp_path / "train.log").write_text(first)
    with pytest.raises(SystemExit, match="by 1 processes, not 2"):
        executors.second_process(tmp_path)
