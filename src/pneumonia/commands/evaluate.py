"""`./run.sh evaluate`: metrics and figures of a finished run, or of one experiment's runs over several folds."""

from pneumonia import config, schema
from pneumonia.reports.held_out import read_held_out
from pneumonia.system.files import atomic_write, write_json


def evaluate(settings: schema.Evaluate) -> dict:
    """Write evaluation.json and evaluation.html into the run's or experiment's folder, or into `out`.

    Returns:
        The content of the JSON, and the path of the page.

    Raises:
        BadInput: the folder has no finished run, or the runs contradict each other.
    """
    held_out = read_held_out(settings.run)
    if held_out.kind == "classifier":
        from pneumonia.reports.classifier import evaluate as measure_run
    else:
        from pneumonia.reports.localizer import evaluate as measure_run
    evaluation = measure_run(held_out, settings.draws, settings.seed)
    print(evaluation.summary)
    folder = config.user_path(settings.out) if settings.out else held_out.folder
    page = folder / "evaluation.html"
    write_json(folder / "evaluation.json", evaluation.result)
    with atomic_write(page) as file:
        file.write(evaluation.page)
    print(f"\npage        {page}")
    return evaluation.result | {"page": page}
