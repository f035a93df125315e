"""`./run.sh validate`: checks the format of a submission."""

import sys

from pneumonia import config, schema
from pneumonia.boxes.submission import validate as faults_of


def validate(settings: schema.Validate) -> dict:
    """Print every fault on stderr, one per line; return {"valid", "faults"}."""
    submission = config.required_path(settings.submission, "submission", "the file to validate")
    sample = config.user_path(settings.sample) if settings.sample else None
    faults = faults_of(submission, sample, settings.frame)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        checks = "ids and order as in the sample" if sample else "no sample given: the ids were not compared"
        print(f"{settings.submission}: valid ({checks})")
    return {"valid": not faults, "faults": [fault.as_json() for fault in faults]}
