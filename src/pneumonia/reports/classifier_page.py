"""A classifier's evaluation as text and as an HTML page."""

import numpy as np

from pneumonia.reports import classifier_figures as figures
from pneumonia.reports import page
from pneumonia.reports.grad_cam_gallery import grad_cam_gallery
from pneumonia.reports.held_out import HeldOut
from pneumonia.reports.numbers import interval_text, number_text
from pneumonia.reports.run_sections import lead, learning_curve_sections, published_split_sections, trained_on_note


def class_rows(measures: dict) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{row[column]:.2f}" for column in ("precision", "recall", "f1")), str(row["images"]))
        for name, row in measures["classes"].items()
    ]


def summary(result: dict) -> str:
    lines = [f"{result['experiment']}: {lead(result)}", ""]
    for name in ("auc", "average_precision", "brier"):
        lines.append(f"{name.replace('_', ' '):22s} {interval_text(result[name])}")
    lines.append(f"{'calibration error':22s} {number_text(result['calibration_error'])}")
    for name, title in (
        ("at_half", "threshold 0.5"),
        ("at_cross_fitted_threshold", "cross-fitted threshold"),
    ):
        measures = result[name]
        lines += ["", f"{title}: accuracy {interval_text(measures['accuracy'])}; confusion {measures['confusion']}"]
        lines.append(f"  {'':10s} {'precision':>9s} {'recall':>7s} {'F1':>5s} {'images':>7s}")
        lines += [f"  {row[0]:10s} {row[1]:>9s} {row[2]:>7s} {row[3]:>5s} {row[4]:>7s}" for row in class_rows(measures)]
    lines += ["", f"{'':16s} {'images':>7s} {'people':>7s} {'positive':>9s}  AUC"]
    for row in result["subgroups"]:
        counts = f"{row['images']:7d} {row['people']:7d} {row['positives']:9d}"
        lines.append(f"{row['of'] + ' ' + row['is']:16s} {counts}  {interval_text(row['auc'])}")
    for name, title in (("auc_of_folds", "folds"), ("auc_of_seeds", "seeds")):
        if len(result[name]) > 1:
            values = [value for value in result[name].values() if value is not None]
            aucs = ", ".join(f"{key}: {number_text(value)}" for key, value in result[name].items())
            spread = f"; standard deviation {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            lines.append(f"AUC of {title}: {aucs}{spread}")
    return "\n".join(lines)


def build_page(held_out: HeldOut, result: dict) -> str:
    """Build the HTML page. result: the JSON of `measure`."""
    labels, scores = held_out.table["target"].to_numpy(), held_out.table["opacity"].to_numpy()
    cards = [
        (title, number_text(result[name]["value"]), interval_text(result[name]))
        for name, title in (("auc", "AUC"), ("average_precision", "Average precision"), ("brier", "Brier score"))
    ]
    error = number_text(result["calibration_error"])
    sections = [page.cards([*cards, ("Calibration error", error, "expected, ten bins of equal count")])]
    if 0 < labels.sum() < len(labels):
        curves = figures.curves(labels, scores, result["auc"]["value"], result["average_precision"]["value"])
        sections.append(page.section("Curves", page.plot(curves, "ROC, precision-recall and calibration curves")))
    header = ("class", "precision", "recall", "F1", "images")
    sections += [
        page.section(
            title,
            page.paragraph(f"Accuracy {interval_text(result[name]['accuracy'])}."),
            page.table(header, class_rows(result[name])),
            page.plot(figures.confusion(result[name]["confusion"]), "confusion matrix"),
        )
        for name, title in (
            ("at_half", "At a probability of 0.5"),
            ("at_cross_fitted_threshold", "At the threshold that is best on other people (highest F1)"),
        )
    ]
    sections += published_split_sections(held_out.runs[0], result["experiment"], result["auc"])
    rows = (
        (f"{row['of']} {row['is']}", row["images"], row["people"], row["positives"], interval_text(row["auc"]))
        for row in result["subgroups"]
    )
    header = ("group", "images", "people", "positive", "AUC (95 %)")
    sections.append(page.section("By sex, age and view", page.table(header, rows)))
    sections += learning_curve_sections(held_out.runs)
    pictures = grad_cam_gallery(held_out)
    if pictures:
        text = "Parts of the image that support an opacity. True positives first, then false positives."
        sections.append(page.section("Grad-CAM", page.paragraph(text), page.picture_grid(pictures)))
    sections.append(trained_on_note(held_out.runs[0]))
    return page.page(result["experiment"], lead(result), sections)
