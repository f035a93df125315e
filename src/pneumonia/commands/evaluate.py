"""`./run.sh evaluate`: metrics and figures of a finished run, or of one experiment's runs over several folds."""

from pneumonia import schema
from pneumonia.reports.evaluated import read_evaluated


def evaluate(settings: schema.Evaluate) -> dict:
    """Write evaluation.json and evaluation.html into the folder; return the content of the JSON.

    Raises:
        BadInput: the folder has no finished run.
    """
    evaluated = read_evaluated(settings.run)
    if evaluated.kind == "classifier":
        from pneumonia.reports.classifier import evaluate as report
    else:
        from pneumonia.reports.localizer import evaluate as report
    return report(evaluated, settings.draws, settings.seed)
