"""Runs jobs by stepper.py, as the main job would: python driver.py EXECUTOR FOLDER NAME OPTIONS, NAME OPTIONS, ..."""

import sys
from pathlib import Path

from pneumonia.jobs.executors import run_all
from pneumonia.jobs.job import TrainJob
from pneumonia.system.errors import BadInput, EnvironmentFailure

executor, folder, *words = sys.argv[1:]
jobs = []
for one in " ".join(words).split(","):
    name, *options = one.split()
    path = Path(folder) / name
    command = (sys.executable, "-P", str(Path(__file__).with_name("stepper.py")), str(path), "6", *options)
    jobs.append(TrainJob(name, path, command))
try:
    run_all(jobs, executor)
except KeyboardInterrupt:
    sys.exit(130)
except (BadInput, EnvironmentFailure) as error:
    sys.exit(error.exit_code)
