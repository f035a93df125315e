"""Of all tests: the process-wide switches that `__main__` sets, how the tests share the cores, and a small competition
with a known answer.

Ctrl-C does something, also where the suite itself runs in the background of a shell: without job control a shell has
its background processes ignore SIGINT; children inherit that, but not a handler.
"""

import collections
import itertools
import os
import signal

from pneumonia.jobs.job import THREAD_VARIABLES
from pneumonia.system.switches import set_switches

set_switches()
signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores compute at once: each has one thread
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  the threads first
import pytest  # noqa: E402

from pneumonia.boxes.predictions import ClassProbabilities, Detections  # noqa: E402
from pneumonia.metrics.iou_map import Truth  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A file's tests stay in one process, which has its fixtures, and in their order; slow tests are for themselves."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if not item.get_closest_marker("slow") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def processor_seconds():
    """Of this process and of those it waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


spent = {"seconds": processor_seconds()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Each report carries the processor time since the one before it, also to the process that prints the summary."""
    report = yield
    now = processor_seconds()
    report.user_properties = [*report.user_properties, ("processor seconds", now - spent["seconds"])]
    spent["seconds"] = now
    return report


def pytest_terminal_summary(terminalreporter):
    """Where the time went: on a busy machine the processor's says more than the clock's."""
    files = collections.Counter()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        for name, seconds in getattr(report, "user_properties", ()):
            if name == "processor seconds":
                files[report.nodeid.partition("::")[0]] += seconds
    if len(files) > 1:
        most = ", ".join(f"{file.removeprefix('tests/')} {seconds:.0f}" for file, seconds in files.most_common(12))
        terminalreporter.write_line(f"processor time {sum(files.values()):.0f} s: {most}")


@pytest.fixture
def competition():
    return make_competition


def make_competition(images=160, seed=0, oversize=1.0):
    """Truth, three detectors of different scale and noise, a classifier, and people of two images each."""
    generator = np.random.default_rng(seed)
    ids = [f"i{number}" for number in range(images)]
    truth = [generator.uniform(100, 600, size=(count, 2)) for count in generator.choice([0, 0, 1, 2], images)]
    truth = [np.concatenate([corner, np.full((len(corner), 2), 200.0)], axis=1) for corner in truth]
    members = {}
    for name, power in (("a", 1.0), ("b", 4.0), ("c", 0.5)):
        boxes, scores = [], []
        for mine in truth:
            seen = mine[generator.random(len(mine)) < 0.8]
            size = seen[:, 2:] * oversize
            near = np.concatenate([seen[:, :2] + (seen[:, 2:] - size) / 2, size], axis=1)
            near = near + generator.normal(0, 12, seen.shape)
            far = np.concatenate([generator.uniform(0, 700, (1, 2)), generator.uniform(90, 250, (1, 2))], axis=1)
            boxes.append(np.concatenate([near, far]))
            scores.append(np.concatenate([generator.beta(4, 2, len(near)), generator.beta(2, 4, 1)]) ** power)
        members[name] = Detections.from_lists(ids, boxes, scores)
    positive = np.array([len(mine) > 0 for mine in truth])
    opacity = 1 / (1 + np.exp(-np.where(positive, 1.5, -1.5) - generator.normal(0, 1, images)))
    groups = {name: f"person {number // 2}" for number, name in enumerate(ids)}
    return Truth.from_lists(ids, truth), members, {"gate": ClassProbabilities(tuple(ids), opacity)}, groups
