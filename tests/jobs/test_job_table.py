"""The live table of jobs."""

import time

from rich.console import Console

from pneumonia.jobs.job import Outcome
from pneumonia.jobs.job_table import JobTable
from pneumonia.runs.progress_file import Progress, write_progress
from pneumonia.system.files import write_json


def lines_of(table):
    console = Console(width=140, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table.build_table(range(len(table.jobs))))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_row_has_epoch_loss_speed_and_time_left(stepper):
    jobs = [stepper("trains"), stepper("predicts"), stepper("waits")]
    for job in jobs:
        job.folder.mkdir()
        job.log.write_text("its last line\n")
    progress = Progress(2, 4, 30, 40, 0.5, 12.25, 75.4)
    write_json(jobs[1].folder / "progress.json", vars(progress) | {"time": time.time() - 100})  # of an earlier attempt
    table = JobTable(jobs, logged=True, driver="driver", one_at_a_time=False)
    for job in (0, 1):
        table.mark_running(job)
        table.log_starts[job] = 0
    write_progress(jobs[0].folder, progress)
    header, trains, predicts, waits = lines_of(table)
    assert header.split() == ["job", "state", "time", "epoch", "loss", "images/s", "time", "left"]
    assert "2/4 (75%)  0.5000  12.2      1 min 15 s" in trains and "last line" not in trains
    assert "running" in predicts and predicts.endswith("its last line") and "2/4" not in predicts
    assert waits.split() == ["waits", "waiting"]
    table.mark_ended(0, Outcome(0))
    assert "2/4" not in lines_of(table)[1] and "done" in lines_of(table)[1]
