"""What every job is doing, on stderr: a table that is redrawn on a terminal, else a line per change."""

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
from pneumonia.jobs.process import ATTEMPT, attempts, last_lines
from pneumonia.system.progress import say

WAITING, RUNNING, DONE, FAILED = STATES = ("waiting", "running", "done", "failed")
COLOURS = {WAITING: "dim", RUNNING: "cyan", DONE: "green", FAILED: "bold red"}
LINES_SHOWN = 10

# a line of TensorFlow's C++ log, which its log level does not stop: it stays in the run's log, nobody needs to see it
CHATTER = re.compile(r"[IWE]\d{4} \d\d:\d\d:|.*\.cc:\d+\] |WARNING: All log messages before absl")


class JobTable:
    """States of jobs, known by their position in the list. A context: the table is drawn while it is entered.

    Args:
        logged: every job writes its log; otherwise there is one job, which speaks for itself on stderr.
        driver: token of who runs the jobs; a log is shown from his first attempt on.
        alone: jobs run one at a time. Their lines are then shown as they come where stderr is no terminal; several
            at once would talk through each other.
    """

    def __init__(self, jobs: Sequence[TrainJob], logged: bool, driver: str, alone: bool):
        self.jobs, self.logged, self.driver, self.alone = jobs, logged, driver, alone
        self.console = Console(stderr=True)
        self.states = [WAITING] * len(jobs)
        self.began = [0.0] * len(jobs)
        self.ended = [0.0] * len(jobs)
        self.beginning: dict[int, int] = {}  # in the job's log, in bytes
        self.read: dict[int, int] = {}
        self.live = Live(
            console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, get_renderable=self.drawing
        )
        self.draws = logged and sys.stderr.isatty() and not self.console.is_dumb_terminal

    def __enter__(self) -> "JobTable":
        if self.draws:
            self.live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self.draws:
            self.live.stop()
            self.console.print(self.table(self.jobs_shown(len(self.jobs))))
        if kind is not None and len(self.jobs) > 1:
            counts = Counter(self.states)
            unfinished = f"{counts[RUNNING]} stopped in the middle, {counts[WAITING]} not begun"
            say(f"jobs: {counts[DONE]} done, {counts[FAILED]} failed, {unfinished}")

    def running(self, job: int) -> None:
        self.states[job], self.began[job] = RUNNING, time.time()
        self.tell(job, "running")

    def begun_again(self, job: int, attempt: int) -> None:
        self.tell(job, f"its worker was lost; attempt {attempt}")

    def ended_with(self, job: int, outcome: Outcome) -> None:
        """The job is over; where it failed, its log and the log's last lines are shown."""
        self.follow(job)
        if self.states[job] == WAITING:
            self.began[job] = time.time()
        self.states[job], self.ended[job] = DONE if outcome.code == 0 else FAILED, time.time()
        why = outcome.note if outcome.code == 0 else str(outcome)
        self.tell(job, f"{self.states[job]} after {self.seconds(job)}" + (f" ({why})" if why else ""))
        if outcome.code != 0 and self.logged:
            log = self.jobs[job].log
            lines = [f"  {line}" for line in last_lines(str(log), LINES_SHOWN, self.log_begins(job))]
            if lines:
                self.say("\n".join([f"{self.jobs[job].title}: the last lines of {log}:", *lines]))

    def refresh(self) -> None:
        """Show what has changed: the table, or the running jobs' new lines."""
        if self.draws:
            self.live.refresh()
        for job, state in enumerate(self.states):
            if state == RUNNING:
                self.follow(job)

    def follow(self, job: int) -> None:
        """Show the whole lines that a job has written since the last time."""
        if self.draws or not (self.logged and self.alone) or not os.access(self.jobs[job].log, os.R_OK):
            return
        with open(self.jobs[job].log, "rb") as file:
            begin = self.read.get(job, self.log_begins(job))
            file.seek(begin)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read[job] = begin + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line and not line.startswith(ATTEMPT) and not CHATTER.match(line):
                self.say(line)

    def log_begins(self, job: int) -> int:
        """Where in a log this driver's first attempt begins; what lies before it is of earlier times, or others'."""
        if job not in self.beginning:
            log = self.jobs[job].log
            mine = attempts(str(log), self.driver)
            if not mine:
                return log.stat().st_size if os.access(log, os.R_OK) else 0
            self.beginning[job] = mine[0]
        return self.beginning[job]

    def tell(self, job: int, what: str) -> None:
        """A change of state, as a line; a terminal's table shows it anyway."""
        if len(self.jobs) > 1 and not self.draws:
            over = sum(state in (DONE, FAILED) for state in self.states)
            self.say(f"[{over}/{len(self.jobs)}] {self.jobs[job].title}: {what}")
        elif self.draws:
            self.live.refresh()

    def say(self, text: str) -> None:
        if self.draws:
            self.console.print(Text(text), soft_wrap=True)  # a path stays whole
        else:
            print(text, file=sys.stderr, flush=True)

    def seconds(self, job: int) -> str:
        return duration((self.ended[job] or time.time()) - self.began[job])

    def drawing(self) -> Group:
        """The table, cut to the terminal: what runs or has failed first, then what waits, then what is done."""
        room = max(1, self.console.size.height - 4)
        return Group(self.table(self.jobs_shown(room)), Text(self.summary(), style="dim"))

    def jobs_shown(self, room: int) -> list[int]:
        order = (RUNNING, FAILED, WAITING, DONE)
        ranked = sorted(range(len(self.jobs)), key=lambda job: order.index(self.states[job]))
        return sorted(ranked[:room])

    def table(self, shown: Sequence[int]) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for job in shown:
            state = self.states[job]
            at = time.strftime("since %H:%M", time.localtime(self.began[job])) if state == RUNNING else ""
            took = "" if state == WAITING else self.seconds(job)
            line = self.last_line(job) if state in (RUNNING, FAILED) else ""
            words = Text(f"{state} {at}".rstrip(), style=COLOURS[state])
            table.add_row(Text(self.jobs[job].title), words, took, Text(line))
        return table

    def last_line(self, job: int) -> str:
        return "".join(last_lines(str(self.jobs[job].log), 1, self.log_begins(job)))

    def summary(self) -> str:
        counts = Counter(self.states)
        return f"{len(self.jobs)} jobs: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
