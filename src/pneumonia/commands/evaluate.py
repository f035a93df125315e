"""`./run.sh evaluate`: everything about a finished run, or about one experiment's runs over several folds."""

from pneumonia import schema
from pneumonia.reports.evaluated import read_evaluated


def evaluate(settings: schema.Evaluate) -> dict:
    """Writes evaluation.json and evaluation.html beside the run; returns what the JSON holds.

    Raises:
        BadInput: no finished run there.
    """
    found = read_evaluated(settings.run)
    if found.kind == "classifier":
        from pneumonia.reports.classifier import evaluate as report
    else:
        from pneumonia.reports.localizer import evaluate as report
    return report(found, settings.draws, settings.seed)
