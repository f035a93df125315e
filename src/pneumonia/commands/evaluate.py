"""`./run.sh evaluate`: metrics and figures of a finished run, or of one experiment's runs over several folds."""

from pneumonia import schema
from pneumonia.reports.held_out import read_held_out


def evaluate(settings: schema.Evaluate) -> dict:
    """Write evaluation.json and evaluation.html into the folder; return the content of the JSON.

    Raises:
        BadInput: the folder has no finished run.
    """
    held_out = read_held_out(settings.run)
    if held_out.kind == "classifier":
        from pneumonia.reports.classifier import evaluate as report
    else:
        from pneumonia.reports.localizer import evaluate as report
    return report(held_out, settings.draws, settings.seed)
