"""`./run.sh check`: every fault of a competition folder at once."""

import contextlib
from collections.abc import Sequence

from pneumonia import schema
from pneumonia.data.check import all_faults, fault_lines, labelled_images
from pneumonia.data.check_release import compare_with_kaggle
from pneumonia.data.competition import Competition, resolve
from pneumonia.data.people import find_unmapped
from pneumonia.system.errors import BadInput, Fault


def check(settings: schema.Check) -> dict:
    """Print faults and warnings, one line each, and return them; no file is written."""
    comparison = None
    try:
        competition = resolve(settings, needs_images=False)
        faults, warnings = all_faults(competition, settings.clip_boxes, settings.workers)
        comparison, differences = compare_with_kaggle(competition)
        warnings += differences
        summary, unmapped = summary_line(competition, faults), unmapped_json(competition)
    except BadInput as error:  # no such folder, or an unsafe zip: faults of the folder like the others
        faults, warnings = error.faults, []
        summary, unmapped = f"{settings.source()} cannot be checked", None
    lines = [*fault_lines(faults), *(line.replace("error:", "warning:", 1) for line in fault_lines(warnings)), summary]
    lines += [str(comparison)] if comparison else []
    print("\n".join(lines))
    return {
        "faults": [fault.as_json() for fault in faults],
        "warnings": [fault.as_json() for fault in warnings],
        "unmapped": unmapped,
        "kaggle": comparison.as_json() if comparison else None,
    }


def unmapped_json(competition: Competition) -> dict | None:
    """Labelled images whose person is not in the mapping; None without a mapping, or where it cannot be read."""
    with contextlib.suppress(BadInput):
        if competition.mapping is not None:
            return find_unmapped(competition.people(), labelled_images(competition)).as_json()
    return None


def summary_line(competition: Competition, faults: Sequence[Fault]) -> str:
    train, test = len(competition.train_images), len(competition.test_images)
    count = f"{len(faults)} fault{'' if len(faults) == 1 else 's'}" if faults else "no faults"
    return f"{competition.root}: {train} training and {test} test images, {count}"
