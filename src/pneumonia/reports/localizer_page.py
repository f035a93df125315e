"""A localizer's evaluation as text and as an HTML page."""

import numpy as np
from matplotlib import pyplot as plt

from pneumonia.metrics import froc
from pneumonia.metrics.coco_ap import coco_lines
from pneumonia.metrics.iou_map import ThresholdCurve
from pneumonia.reports import page
from pneumonia.reports.figures import BLUE, GRAY, png
from pneumonia.reports.numbers import interval_text, number_text
from pneumonia.reports.run_sections import lead, learning_curve_sections, published_split_sections, trained_on_note
from pneumonia.runs.run import Run

TABLE_RATES = (1 / 4, 1 / 2, 1.0)  # false positives per image, in the table of groups


def point_rows(result: dict) -> list[tuple[str, ...]]:
    return [
        (
            f"{point['rate']:g}",
            number_text(point["threshold"], "nothing predicted"),
            number_text(point["false_positives"]),
            interval_text(point["sensitivity"]),
        )
        for point in result["froc"]
    ]


def size_rows(result: dict) -> list[tuple[str, ...]]:
    return [(row["is"], str(row["boxes"]), *map(interval_text, row["sensitivity"])) for row in result["sizes"]]


def group_rows(result: dict) -> list[tuple[str, ...]]:
    columns = [froc.RATES.index(rate) for rate in TABLE_RATES]
    return [
        (
            f"{row['of']} {row['is']}",
            *(str(row[name]) for name in ("images", "people", "boxes")),
            interval_text(row["false_positives"][froc.RATES.index(1 / 2)]),
            *(interval_text(row["sensitivity"][column]) for column in columns),
        )
        for row in result["subgroups"]
    ]


def coco_rows(scores: dict) -> list[tuple[str, ...]]:
    names = {"all": "all", "positive": "with a true box"}
    return [
        (names[key], str(row["images"]), *(number_text(row[name]) for name in ("ap", "ap50", "ap75", "ar")))
        for key, row in scores.items()
    ]


def summary(result: dict) -> str:
    lines = [
        f"{result['experiment']}: {lead(result)}",
        "",
        f"mean IoU-mAP, cross-fitted threshold     {interval_text(result['held_out_score'])}",
        f"tuned on itself (optimistic)             {number_text(result['tuned_on_itself']['score'])}",
        *coco_lines(result["coco"]),
        "",
        f"{'false positives per image':26s} sensitivity at IoU above {froc.IOU}",
        *(f"{row[0]:26s} {row[3]}" for row in point_rows(result)),
        "",
        f"{'at 0.5 false positives per image':32s} {'images':>7s} {'boxes':>6s}  {'false positives':24s} sensitivity",
    ]
    middle = froc.RATES.index(1 / 2)
    for row in result["sizes"]:
        sensitivity = interval_text(row["sensitivity"][middle])
        lines.append(f"{row['is'] + ' boxes':32s} {'':7s} {row['boxes']:6d}  {'':24s} {sensitivity}")
    for row in result["subgroups"]:
        counts = f"{row['images']:7d} {row['boxes']:6d}"
        false_positives, sensitivity = (interval_text(row[name][middle]) for name in ("false_positives", "sensitivity"))
        lines.append(f"{row['of'] + ' ' + row['is']:32s} {counts}  {false_positives:24s} {sensitivity}")
    return "\n".join(lines)


def build_page(runs: list[Run], curve: froc.Curve, scores: ThresholdCurve, result: dict) -> str:
    """Build the HTML page.

    Args:
        runs: all that are evaluated.
        curve: FROC.
        scores: the competition's score at every threshold.
        result: the JSON of `measure`.
    """
    rates = [f"{rate:g}" for rate in froc.RATES]
    cards = [
        ("Held-out score", number_text(result["held_out_score"]["value"]), interval_text(result["held_out_score"])),
        (
            "Tuned on itself",
            number_text(result["tuned_on_itself"]["score"]),
            "optimistic: the best threshold on these images",
        ),
        (
            "Mean sensitivity",
            number_text(result["mean_sensitivity"]),
            f"over {', '.join(rates)} false positives per image",
        ),
    ]
    sizes = f"Area in pixels of the original image: small up to {froc.SMALL:,}, large above {froc.LARGE:,}."
    thresholds = "At the thresholds with these false positives per image over all images, the same for all groups."
    groups_header = (
        "group",
        "images",
        "people",
        "boxes",
        "false positives at 0.5",
        *(f"at {rate:g}" for rate in TABLE_RATES),
    )
    folds = [(fold, number_text(score)) for fold, score in result["score_of_folds"].items()]
    sections = [
        page.cards(cards),
        page.paragraph(
            "The score is the competition's mean IoU-mAP; each image's threshold is fitted on other people."
        ),
        page.section(
            "FROC",
            page.paragraph(
                f"A predicted box matches one true box if their IoU is above {froc.IOU}; else it is a false positive."
            ),
            page.plot(figure(curve, scores, result), "FROC curve, and the score at every threshold"),
            page.table(("false positives per image", "threshold", "actual", "sensitivity (95 %)"), point_rows(result)),
        ),
        page.section(
            "COCO's average precision",
            page.paragraph(
                "By pycocotools, on all predicted boxes. Papers use all images, or only those with a true box: compare "
                "figures of the same images only."
            ),
            page.table(("images", "number", "AP", "AP50", "AP75", "AR"), coco_rows(result["coco"])),
        ),
        page.section(
            "By box size",
            page.paragraph(f"{sizes} {thresholds}"),
            page.table(("size", "boxes", *(f"at {rate}" for rate in rates)), size_rows(result)),
        ),
        page.section("By sex, age and view", page.paragraph(thresholds), page.table(groups_header, group_rows(result))),
    ]
    if len(folds) > 1:
        sections.append(page.section("By fold", page.table(("fold", "score"), folds)))
    sections += published_split_sections(runs[0], result["experiment"])
    sections += learning_curve_sections(runs)
    sections.append(trained_on_note(runs[0]))
    return page.page(result["experiment"], lead(result), sections)


def figure(curve: froc.Curve, scores: ThresholdCurve, result: dict) -> str:
    """Plot the FROC curve with the intervals of the operating points, and the mean score at every threshold."""
    plot, (left, right) = plt.subplots(1, 2, figsize=(10.4, 4.0))
    lowest = froc.RATES[0] / 4
    left.step(np.maximum(curve.false_positives, lowest), curve.sensitivity, where="post", color=BLUE)
    for point in result["froc"]:
        interval = point["sensitivity"]
        if interval["low"] is not None:
            left.plot([point["rate"]] * 2, [interval["low"], interval["high"]], color=GRAY, linewidth=1.5)
            left.plot(point["rate"], interval["value"], "o", color=BLUE, markersize=4)
    left.set_xscale("log", base=2)
    left.set(title="FROC", xlabel="false positives per image", ylabel="sensitivity", ylim=(0, 1.02))
    left.set_xticks(froc.RATES, [f"{rate:g}" for rate in froc.RATES])
    right.step(scores.thresholds, scores.scores, where="post", color=BLUE)
    right.set(title="Score on these images", xlabel="threshold", ylabel="mean IoU-mAP", xlim=(0, 1))
    for axis in (left, right):
        axis.grid(alpha=0.25)
    plot.tight_layout()
    return png(plot)
