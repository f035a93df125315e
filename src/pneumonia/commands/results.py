"""`./run.sh results`: the student report's table, its published figures next to those of the runs made here."""

from pneumonia import config, schema
from pneumonia.reports.report_figures import REPORT
from pneumonia.reports.results import folders_of, lines_of, measure_folder
from pneumonia.system.json_values import without_nan


def results(settings: schema.Results) -> dict:
    """Print every row of the report, measured or not; return {"rows": [...]}."""
    root = config.user_path(settings.runs) if settings.runs else config.REPOSITORY / "runs"
    rows = []
    for published in REPORT:
        measured = [measure_folder(folder, published.experiment) for folder in folders_of(root, published.experiment)]
        rows.append({**published._asdict(), "ours": [row for row in measured if row]})
    print("\n".join(line for row, published in zip(rows, REPORT) for line in lines_of(published, row["ours"])))
    print("\nPublished: test images (val: validation) of a split that leaks people. Ours: held-out images;")
    print("95 % intervals over people; precision, recall and F1 at probability 0.5.")
    print("A demo's figures say nothing about radiographs.")
    return {"rows": without_nan(rows)}
