"""`./run.sh evaluate`: everything about a finished run, or about one experiment's runs over several folds."""

from pneumonia import schema
from pneumonia.reports.evaluated import read_evaluated


def command(settings: schema.Evaluate) -> dict:
    """Writes evaluation.json and evaluation.html beside the run; returns what the JSON holds.

    Raises:
        BadInput: no finished run there.
    """
    found = read_evaluated(settings.run)
    if found.kind == "classifier":
        from pneumonia.reports.classifier import evaluate
    else:
        from pneumonia.reports.localizer import evaluate
    return evaluate(found, settings.draws, settings.seed)
