"""Sections that all pages of finished runs have: the lead, learning curves, and where the runs were trained."""

from pneumonia.reports import page
from pneumonia.reports.figures import learning_curves
from pneumonia.runs.history import read_history
from pneumonia.runs.run import Run
from pneumonia.system.files import read_json


def lead(result: dict) -> str:
    """Summarise the held-out images in one line."""
    folds = ", ".join(map(str, result["folds"]))
    boxes = f" with {result['boxes']} boxes" if "boxes" in result else ""
    return (
        f"{result['images']} held-out images of {result['people']} people (fold {folds} of {result['dataset']}), "
        f"{result['positives']} positive{boxes}; intervals 95 %, over people"
    )


def learning_curve_sections(runs: list[Run]) -> list[str]:
    """Build a section for each run that has a history."""
    sections = []
    for run in runs:
        history = read_history(run.folder)
        if history:
            plot = learning_curves({f"fold {run.fold}": history}, ("loss", "accuracy"))
            title = f"Learning curves, fold {run.fold}"
            sections.append(page.section(title, page.plot(plot, f"learning curves of fold {run.fold}")))
    return sections


def trained_on_note(run: Run) -> str:
    environment = read_json(run.folder / "environment.json")
    text = f"Trained on {environment['processor']}, {environment['backend']}."
    if environment.get("data") == "demo":
        text += " Synthetic demo: these figures say nothing about real radiographs."
    return page.note(f"{text} Not a medical device.")
