"""A localizer's evaluation for people: the summary that is printed, and the page."""

import numpy as np
from matplotlib import pyplot as plt

from pneumonia.metrics import froc
from pneumonia.metrics.iou_map import ThresholdCurve
from pneumonia.reports import page
from pneumonia.reports.figures import png
from pneumonia.runs.run import Run
from pneumonia.system.files import read_json

SHOWN = (1 / 4, 1 / 2, 1.0)  # false positives per image, of those in the table of people
BLUE, GRAY = "#1f6feb", "#8b949e"


def shown(found: dict) -> str:
    if found["value"] is None:
        return "not measurable"
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def rounded(value: float | None, otherwise: str = "-") -> str:
    return otherwise if value is None else f"{value:.3f}"


def lead(result: dict) -> str:
    folds = ", ".join(map(str, result["folds"]))
    return (
        f"{result['images']} held-out images of {result['people']} people (fold {folds} of {result['dataset']}), "
        f"{result['positives']} positive with {result['boxes']} boxes; intervals 95 %, over people"
    )


def point_rows(result: dict) -> list[tuple[str, ...]]:
    return [
        (
            f"{point['rate']:g}",
            rounded(point["threshold"], "nothing predicted"),
            rounded(point["false_positives"]),
            shown(point["sensitivity"]),
        )
        for point in result["froc"]
    ]


def size_rows(result: dict) -> list[tuple[str, ...]]:
    return [(row["is"], str(row["boxes"]), *map(shown, row["sensitivity"])) for row in result["sizes"]]


def group_rows(result: dict) -> list[tuple[str, ...]]:
    places = [froc.RATES.index(rate) for rate in SHOWN]
    return [
        (
            f"{row['of']} {row['is']}",
            *(str(row[name]) for name in ("images", "people", "boxes")),
            shown(row["false_positives"][froc.RATES.index(1 / 2)]),
            *(shown(row["sensitivity"][place]) for place in places),
        )
        for row in result["subgroups"]
    ]


def summary(result: dict) -> str:
    lines = [
        f"{result['experiment']}: {lead(result)}",
        "",
        f"mean IoU-mAP, threshold of other people  {shown(result['held_out_score'])}",
        f"tuned on itself (optimistic)             {rounded(result['tuned_on_itself']['score'])}",
        "",
        f"{'false positives an image':26s} sensitivity at IoU above {froc.IOU}",
        *(f"{row[0]:26s} {row[3]}" for row in point_rows(result)),
        "",
        f"{'at 1/2 false positive an image':30s} {'images':>7s} {'boxes':>6s}  {'false positives':24s} sensitivity",
    ]
    middle = froc.RATES.index(1 / 2)
    for row in result["sizes"]:
        lines.append(
            f"{row['is'] + ' boxes':30s} {'':7s} {row['boxes']:6d}  {'':24s} {shown(row['sensitivity'][middle])}"
        )
    for row in result["subgroups"]:
        false, sensitivity = (shown(row[name][middle]) for name in ("false_positives", "sensitivity"))
        lines.append(
            f"{row['of'] + ' ' + row['is']:30s} {row['images']:7d} {row['boxes']:6d}  {false:24s} {sensitivity}"
        )
    return "\n".join(lines)


def as_page(run: Run, curve: froc.Curve, scores: ThresholdCurve, result: dict) -> str:
    """The page. run: the first; curve: FROC; scores: the competition's score at every threshold; result: the JSON."""
    rates = [f"{rate:g}" for rate in froc.RATES]
    cards = [
        ("Held-out score", rounded(result["held_out_score"]["value"]), shown(result["held_out_score"])),
        (
            "Tuned on itself",
            rounded(result["tuned_on_itself"]["score"]),
            "optimistic: its best threshold on these images",
        ),
        ("Mean sensitivity", rounded(result["mean_sensitivity"]), f"over {', '.join(rates)} false positives an image"),
    ]
    sizes = f"Area in pixels of the original image: small up to {froc.SMALL:,}, large above {froc.LARGE:,}."
    own = "At the thresholds that have these false positives per image over all images: one threshold for everybody."
    groups_header = (
        "group",
        "images",
        "people",
        "boxes",
        "false positives at 0.5",
        *(f"at {rate:g}" for rate in SHOWN),
    )
    folds = [(fold, rounded(score)) for fold, score in result["score_of_folds"].items()]
    sections = [
        page.cards(cards),
        page.paragraph(
            "The score is the competition's mean IoU-mAP; each image's threshold is fitted on other people."
        ),
        page.section(
            "FROC",
            page.paragraph(f"A box is found where the IoU is above {froc.IOU}, each at most once; all else is false."),
            page.plot(figure(curve, scores, result), "FROC curve, and the score at every threshold"),
            page.table(("false positives an image", "threshold", "reached", "sensitivity (95 %)"), point_rows(result)),
        ),
        page.section(
            "By size of the box",
            page.paragraph(f"{sizes} {own}"),
            page.table(("size", "boxes", *(f"at {rate}" for rate in rates)), size_rows(result)),
        ),
        page.section("By sex, age and view", page.paragraph(own), page.table(groups_header, group_rows(result))),
    ]
    if len(folds) > 1:
        sections.append(page.section("By fold", page.table(("fold", "score"), folds)))
    sections.append(page.note(f"{trained_on(run)} Not a medical device."))
    return page.page(result["experiment"], lead(result), sections)


def trained_on(run: Run) -> str:
    environment = read_json(run.folder / "environment.json")
    text = f"Trained on {environment['processor']}, {environment['backend']}."
    return f"{text} The synthetic demo: no word about real radiographs." if environment.get("data") == "demo" else text


def figure(curve: froc.Curve, scores: ThresholdCurve, result: dict) -> str:
    """The FROC curve with the fixed points' intervals, and the mean score at every threshold."""
    plot, (left, right) = plt.subplots(1, 2, figsize=(10.4, 4.0))
    lowest = froc.RATES[0] / 4
    left.step(np.maximum(curve.false_positives, lowest), curve.sensitivity, where="post", color=BLUE)
    for point in result["froc"]:
        found = point["sensitivity"]
        if found["low"] is not None:
            left.plot([point["rate"]] * 2, [found["low"], found["high"]], color=GRAY, linewidth=1.5)
            left.plot(point["rate"], found["value"], "o", color=BLUE, markersize=4)
    left.set_xscale("log", base=2)
    left.set(title="FROC", xlabel="false positives per image", ylabel="sensitivity", ylim=(0, 1.02))
    left.set_xticks(froc.RATES, [f"{rate:g}" for rate in froc.RATES])
    right.step(scores.thresholds, scores.scores, where="post", color=BLUE)
    right.set(title="Score on these very images", xlabel="threshold", ylabel="mean IoU-mAP", xlim=(0, 1))
    for axis in (left, right):
        axis.grid(alpha=0.25)
    plot.tight_layout()
    return png(plot)
