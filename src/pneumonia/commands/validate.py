"""`./run.sh validate`: is this submission acceptable."""

import sys

from pneumonia import config, schema
from pneumonia.boxes.submission import validate as faults_of


def validate(settings: schema.Validate) -> dict:
    """`./run.sh validate`: valid, and every fault with its row; the faults go to stderr one a line."""
    submission = config.required_path(settings.submission, "submission", "the file to validate")
    sample = config.user_path(settings.sample) if settings.sample else None
    faults = faults_of(submission, sample, settings.frame)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        asked = "ids and order as in the sample" if sample else "no sample given: the ids were not compared"
        print(f"{settings.submission}: valid ({asked})")
    return {"valid": not faults, "faults": [fault.as_json() for fault in faults]}
