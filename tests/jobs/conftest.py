import sys
from pathlib import Path

import pytest

from pneumonia.jobs.job import TrainJob

STEPPER = str(Path(__file__).with_name("stepper.py"))


@pytest.fixture
def stepper(tmp_path):
    """Makes a job that trains by stepper.py in a folder below tmp_path."""

    def make(name, *options, gpus=1):
        folder = tmp_path / name
        return TrainJob(name, folder, (sys.executable, "-P", STEPPER, str(folder), "6", *options), gpus)

    return make
