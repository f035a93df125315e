"""Sections that all pages of finished runs have: the lead, learning curves, and where the runs were trained."""

from pneumonia.data.published_split import PUBLISHED
from pneumonia.reports import page
from pneumonia.reports.figures import learning_curves
from pneumonia.reports.published_figures import published_split_section
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


def published_split_sections(run: Run, experiment: str, auc: dict | None = None) -> list[str]:
    """Build the section of the published split that a run was trained on; [] for folds.

    Args:
        auc: a classifier's, as `json_interval`.
    """
    if run.fold != PUBLISHED:
        return []
    split = run.start()["split"]
    return [published_split_section(split, [(experiment, split["scored"], auc)] if auc else [])]


def trained_on_note(run: Run) -> str:
    environment = read_json(run.folder / "environment.json")
    text = f"Trained on {environment['processor']}, {environment['backend']}."
    if environment.get("data") == "demo":
        text += " Synthetic demo: these figures say nothing about real radiographs."
    return page.note(f"{text} Not a medical device.")
