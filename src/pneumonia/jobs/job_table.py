"""The state of every job, on stderr: a table that is redrawn on a terminal, else a line per change."""

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pneumonia.jobs.job import Outcome, TrainJob
from pneumonia.jobs.process import ATTEMPT, find_attempts, last_lines
from pneumonia.runs.progress_file import format_duration, read_progress
from pneumonia.system.progress import say

WAITING, RUNNING, DONE, FAILED = STATES = ("waiting", "running", "done", "failed")
COLOURS = {WAITING: "dim", RUNNING: "cyan", DONE: "green", FAILED: "bold red"}
PROGRESS_COLUMNS = ("epoch", "loss", "images/s", "time left")
TAIL_LINES = 10  # printed of a failed job's log

# lines of TensorFlow's C++ log that its log level does not stop: they stay in the run's log and are not printed
CPP_LOG = re.compile(r"[IWE]\d{4} \d\d:\d\d:|.*\.cc:\d+\] |WARNING: All log messages before absl")


class JobTable:
    """States of jobs, identified by their position in the list. A context manager: in its block the table is drawn.

    Args:
        logged: every job writes its log; otherwise there is one job, which writes to stderr itself.
        driver: token of the process that runs the jobs; a log is printed from that process's first attempt on.
        one_at_a_time: jobs run one after the other. Where stderr is not a terminal all their lines are printed; of
            several at once, which would be mixed, those that start with the job's title.
    """

    def __init__(self, jobs: Sequence[TrainJob], logged: bool, driver: str, one_at_a_time: bool):
        self.jobs, self.logged, self.driver, self.one_at_a_time = jobs, logged, driver, one_at_a_time
        self.console = Console(stderr=True)
        self.states = [WAITING] * len(jobs)
        self.start_times = [0.0] * len(jobs)
        self.end_times = [0.0] * len(jobs)
        self.log_starts: dict[int, int] = {}  # bytes before this driver's first attempt, by job
        self.printed_bytes: dict[int, int] = {}  # end of the last printed line in the log, by job
        self.live = Live(
            console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, get_renderable=self.render
        )
        self.is_live = logged and sys.stderr.isatty() and not self.console.is_dumb_terminal

    def __enter__(self) -> "JobTable":
        if self.is_live:
            self.live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self.is_live:
            self.live.stop()
            self.console.print(self.build_table(range(len(self.jobs))))
        if kind is not None and len(self.jobs) > 1:
            counts = Counter(self.states)
            unfinished = f"{counts[RUNNING]} stopped, {counts[WAITING]} not started"
            say(f"jobs: {counts[DONE]} done, {counts[FAILED]} failed, {unfinished}")

    def mark_running(self, job: int) -> None:
        self.states[job], self.start_times[job] = RUNNING, time.time()
        self.report_change(job, "running")

    def report_retry(self, job: int, attempt: int) -> None:
        self.report_change(job, f"its worker was lost; attempt {attempt}")

    def mark_ended(self, job: int, outcome: Outcome) -> None:
        """Set the job's final state; print the last lines of a failed job's log."""
        self.print_new_lines(job)
        if self.states[job] == WAITING:
            self.start_times[job] = time.time()
        self.states[job], self.end_times[job] = DONE if outcome.code == 0 else FAILED, time.time()
        reason = outcome.note if outcome.code == 0 else str(outcome)
        self.report_change(job, f"{self.states[job]} after {self.duration(job)}" + (f" ({reason})" if reason else ""))
        if outcome.code != 0 and self.logged:
            log = self.jobs[job].log
            lines = [f"  {line}" for line in last_lines(str(log), TAIL_LINES, self.log_start(job))]
            if lines:
                self.write("\n".join([f"{self.jobs[job].title}: the last lines of {log}:", *lines]))

    def refresh(self) -> None:
        """Redraw the table, or print the running jobs' new lines."""
        if self.is_live:
            self.live.refresh()
        for job, state in enumerate(self.states):
            if state == RUNNING:
                self.print_new_lines(job)

    def print_new_lines(self, job: int) -> None:
        """Print the complete lines that a job has written since the last call."""
        if self.is_live or not self.logged or not os.access(self.jobs[job].log, os.R_OK):
            return
        with open(self.jobs[job].log, "rb") as file:
            start = self.printed_bytes.get(job, self.log_start(job))
            file.seek(start)
            text = file.read()
        lines = text[: text.rfind(b"\n") + 1]
        self.printed_bytes[job] = start + len(lines)
        for line in lines.decode(errors="replace").splitlines():
            is_shown = self.one_at_a_time or line.startswith(self.jobs[job].title)
            if is_shown and line and not line.startswith(ATTEMPT) and not CPP_LOG.match(line):
                self.write(line)

    def log_start(self, job: int) -> int:
        """Byte of a log at which this driver's first attempt starts; before it are attempts of other drivers."""
        if job not in self.log_starts:
            log = self.jobs[job].log
            starts = find_attempts(str(log), self.driver)
            if not starts:
                return log.stat().st_size if os.access(log, os.R_OK) else 0
            self.log_starts[job] = starts[0]
        return self.log_starts[job]

    def report_change(self, job: int, change: str) -> None:
        """Print a change of state as a line, or redraw the terminal's table."""
        if self.is_live:
            self.live.refresh()
        elif len(self.jobs) > 1:
            ended = sum(state in (DONE, FAILED) for state in self.states)
            self.write(f"[{ended}/{len(self.jobs)}] {self.jobs[job].title}: {change}")

    def write(self, text: str) -> None:
        if self.is_live:
            self.console.print(Text(text), soft_wrap=True)  # without a line break in a path
        else:
            print(text, file=sys.stderr, flush=True)

    def duration(self, job: int) -> str:
        return format_duration((self.end_times[job] or time.time()) - self.start_times[job])

    def render(self) -> Group:
        """The table with as many jobs as the terminal has lines: running and failed first, then waiting, then done."""
        order, height = (RUNNING, FAILED, WAITING, DONE), max(1, self.console.size.height - 4)
        jobs = sorted(range(len(self.jobs)), key=lambda job: order.index(self.states[job]))[:height]
        return Group(self.build_table(sorted(jobs)), Text(self.summary(), style="dim"))

    def build_table(self, jobs: Sequence[int]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("job", "state", "time", *PROGRESS_COLUMNS):
            table.add_column(name, no_wrap=True)
        table.add_column("", no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for job in jobs:
            state = self.states[job]
            since = time.strftime("since %H:%M", time.localtime(self.start_times[job])) if state == RUNNING else ""
            duration = "" if state == WAITING else self.duration(job)
            cells = self.progress_cells(job) if state == RUNNING else None
            line = self.last_line(job) if state in (RUNNING, FAILED) and cells is None else ""
            state_text = Text(f"{state} {since}".rstrip(), style=COLOURS[state])
            columns = cells or ("",) * len(PROGRESS_COLUMNS)
            table.add_row(Text(self.jobs[job].title), state_text, duration, *columns, Text(line))
        return table

    def progress_cells(self, job: int) -> tuple[str, ...] | None:
        """PROGRESS_COLUMNS of a job that trains; None before and after its training, when its last line says more."""
        progress = read_progress(self.jobs[job].folder)
        return None if progress is None or progress.time < self.start_times[job] else progress.cells

    def last_line(self, job: int) -> str:
        return "".join(last_lines(str(self.jobs[job].log), 1, self.log_start(job)))

    def summary(self) -> str:
        counts = Counter(self.states)
        return f"{len(self.jobs)} jobs: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
