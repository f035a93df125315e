"""The section of a published split: which part is scored, whom it leaks, and published figures beside ours."""

from collections.abc import Iterable

from pneumonia.reports import page
from pneumonia.reports.numbers import interval_text

# AUC in % on the test part, trained on all labels of the train part, as the papers give them.
MRM_FIGURES = {
    "MaCo": 93.6,
    "MRM": 93.3,
    "REFERS": 92.7,
    "MedKLIP": 89.3,
    "BioViL": 89.1,
    "GLoRIA": 88.6,
    "ConVIRT": 81.3,
}
MRM_TRAIN = 25_184  # images
FIGURES = {"447d1fe93f670111": ("MRM-pytorch", MRM_FIGURES, MRM_TRAIN)}  # by split_key: of the 1,500 val and 3,000 test


def published_split_section(split: dict, ours: Iterable[tuple[str, str, dict]]) -> str:
    """Build the section.

    Args:
        split: of `describe_split`.
        ours: (name, part that it is of, AUC as `json_interval`) of each classifier.
    """
    name, figures, all_labels = FIGURES.get(split["key"], ("", {}, 0))
    rows = [(f"ours: {model}", part, interval_text(auc)) for model, part, auc in ours]
    rows += [(f"{model}, published", "test", f"{value / 100:.3f}") for model, value in figures.items()]
    parts = [page.paragraph(text) for text in split_lines(split, name, all_labels)]
    return page.section("Published split", *parts, page.table(("model", "AUC on", "AUC (95 %)"), rows) if rows else "")


def split_lines(split: dict, name: str = "", all_labels: int = 0) -> list[str]:
    """Sentences about the split. name, all_labels: of a known one, and the images of its whole train part."""
    title = f"The split of {name}" if name else "A published split"
    lines = [f"{title}: {split['train']} train, {split['val']} val and {split['test']} test images."]
    if split["scored"] == "val":
        lines.append(
            "Scored is val: the label table has no labels of the test part. Published figures are of the test part, "
            "other images."
        )
    else:
        lines.append("Scored is test; val only measures the loss during training.")
    if split["leaking_people"] is None:
        lines.append("Without a mapping it is not known how many people are in several parts.")
    elif split["leaking_people"]:
        people, images = split["leaking_people"], split["leaking_images"]
        lines.append(f"{people} people are in several parts, with {images} images: scores are too high.")
    if split["train"] < all_labels:
        share = split["train"] / all_labels
        lines.append(f"Published figures are with all {all_labels} labels of the train part; here it has {share:.0%}.")
    return lines
