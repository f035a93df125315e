"""The score on the competition's final test labels, beside the results of 2018."""

from pneumonia.reports import page
from pneumonia.reports.numbers import interval_text, number_text, range_text

MARK = "final test labels"
SCORES = {  # mean IoU-mAP on the 3,000 final test images
    "1st place, 2018": "0.253 to 0.255",
    "25th place, 2018": "0.215",
    "single detectors, 2018": "0.13 to 0.19",
}
AUCS = {  # of the whole image
    "best classifiers of 2018": "0.9065 to 0.9093",
    "best published since, self-supervised pretraining": "0.936",
}


def final_line(result: dict) -> str:
    """What is printed of ensemble/looks.py's `final_scores`."""
    score, interval = number_text(result["final_score"]), range_text(result["final_low"], result["final_high"])
    return f"final score {score}, 95 % interval {interval} over people ({MARK}); {looks_text(result)}"


def looks_text(result: dict) -> str:
    count = result["final_looks"]
    times = "1 submission" if count == 1 else f"{count} submissions"
    return f"{times} of {result['final_family']} scored on them so far"


def final_section(result: dict) -> str:
    """The report page's section."""
    score = number_text(result["final_score"]), range_text(result["final_low"], result["final_high"])
    rows = [("this submission", *score), *((name, value, "") for name, value in SCORES.items())]
    parts = [
        page.paragraph(
            f"Scored on the competition's {MARK}, once the submission was written; no fit has seen them. "
            f"{looks_text(result)}: the more often one looks and chooses, the more optimistic the best score is."
        ),
        page.table(("mean IoU-mAP", "score", "95 % interval over people"), rows),
    ]
    if result["final_auc"]:
        aucs = [
            ("this ensemble's probability of an opacity", interval_text(result["final_auc"])),
            *AUCS.items(),
        ]
        parts.append(page.table(("is there an opacity in the image?", "AUC (95 %)"), aucs))
    return page.section("Final test labels", *parts)
