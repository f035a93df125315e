"""The model card of a submission (model_card.md): what a stranger must know before using the models.

Its parts follow Mitchell et al., Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia.boxes.predictions import Detections
from pneumonia.data.prepared import Prepared
from pneumonia.metrics.auc import auc_interval
from pneumonia.metrics.intervals import mean_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores
from pneumonia.metrics.subgroups import subgroups
from pneumonia.reports.final_score import MARK
from pneumonia.reports.leaks import leak_text, people_text, unit_of
from pneumonia.reports.markdown import table
from pneumonia.reports.numbers import interval_text, json_interval
from pneumonia.reports.weight_origins import IMAGENET_TERMS, origin_of
from pneumonia.runs.run import Run, experiment_of, with_names
from pneumonia.system.files import atomic_write, read_json, sha256

FEW_PEOPLE = 30  # intervals over fewer people are marked
SYNTHETIC = "**Synthetic demo: these scores say nothing about real radiographs or RSNA.**"
LIMITS = (
    "Research code, not a medical device: do not use it for diagnosis.",
    "The labels are of the RSNA challenge: boxes that radiologists drew around lung opacities suspicious for pneumonia "
    "without clinical data. They are not diagnoses.",
    "RSNA's images are frontal radiographs (AP and PA) of one hospital, from NIH ChestX-ray14. Another hospital, "
    "scanner, population or prevalence changes scores and thresholds: measure them there.",
    "Differences between the groups above may come from prevalence, from image quality (most AP views are of patients "
    "in bed) or from chance; each interval is over the people of its group alone.",
)


def group_scores(
    study: pd.DataFrame, truth: Truth, held_out: Detections, probabilities: np.ndarray | None, seed: int = 0
) -> list[dict]:
    """Score and AUC of the held-out images by sex, age band and view.

    Args:
        study: the study table (patientId, group, sex, age, view).
        held_out: cross-fitted predictions.
        probabilities: (images,) of an opacity in each image, in the order of held_out.ids, or None.

    Returns:
        A row per group: of, is, images, positives, people, score and auc, each {value, low, high}; auc is None without
        probabilities. Intervals are over people.
    """
    table = study.set_index("patientId").loc[[*held_out.ids]].reset_index()
    people = people_of(held_out.ids, dict(zip(table["patientId"], table["group"])))
    truth = truth.select(held_out.ids)
    scores, rows = image_scores(truth, held_out), []
    for column, value, chosen in subgroups(table):
        members = np.unique(people[chosen], return_inverse=True)[1]
        auc = None
        if probabilities is not None:
            auc = json_interval(auc_interval(truth.positive[chosen], probabilities[chosen], members, seed=seed))
        rows.append(
            {
                "of": column,
                "is": value,
                "images": int(chosen.sum()),
                "positives": int(truth.positive[chosen].sum()),
                "people": int(members.max()) + 1,
                "score": json_interval(mean_interval(scores[chosen], members, seed=seed)),
                "auc": auc,
            }
        )
    return rows


def write_model_card(path: Path, result: dict, data: Prepared, runs: Mapping[str, list[Run]]) -> None:
    """Write the card.

    Args:
        result: the main job's JSON, with `subgroups` (`group_scores`).
        runs: {member: its runs}.
    """
    sections = [
        f"# Model card: {result['dataset']}, {len(runs)} members, {folds_text(result['folds'])}",
        f"Written by the main job beside `submission.csv`. Intervals are 95 %, by bootstrap over {unit_of(result)}.",
        SYNTHETIC if "test_score" in result else "",  # only the demo has test labels
        "## Use",
        f"Finds lung opacities on frontal chest radiographs: boxes with confidences, one CSV row per image. "
        f"Made for the RSNA Pneumonia Detection Challenge 2018 and for research. {LIMITS[0]}",
        "## Data",
        data_table(result, data),
        "## Members",
        members_table(runs),
        *licence_notes(runs),
        "## Scores on held-out images",
        scores_table(result),
        "## By sex, age and view",
        groups_table(result["subgroups"]),
        "## Limits",
        "\n".join(f"- {limit}" for limit in LIMITS[1:]),
        "## Files",
        files_table(result, runs),
    ]
    with atomic_write(path) as file:
        file.write("\n\n".join(section for section in sections if section) + "\n")


def folds_text(folds: list) -> str:
    return f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"


def data_table(result: dict, data: Prepared) -> str:
    study, training = data.study, len(data.study)
    rows = [
        ("dataset", result["dataset"]),
        ("labelled images", f"{training} of {study['group'].nunique()} people, {int(study['target'].sum())} positive"),
        ("held out", f"{result['images_held_out']} images of {people_text(result)}; {leak_text(result)}"),
        ("submission", f"{result['test_images']} test images"),
        *((name, f"`{value}`") for name, value in data.identity.items() if name != "data"),
    ]  # fmt: skip
    if result["split"]:
        rows.append(("published split", str(result["split"].get("name", "given by split="))))
    return table(("", ""), rows)


def members_table(runs: Mapping[str, list[Run]]) -> str:
    rows = []
    for name, member_runs in runs.items():
        experiment = experiment_of(member_runs[0])
        origin = origin_of(experiment.model)
        seconds = sum(run.done()["seconds"] for run in member_runs)
        rows.append(
            (
                name,
                member_runs[0].done()["kind"],
                f"{experiment.image_size} px, {experiment.epochs} epochs",
                len(member_runs),
                origin.source,
                origin.licence or "-",
                f"{seconds / 60:.0f} min",
            )
        )
    names = (
        "member",
        "kind",
        "input",
        "networks",
        "starts from",
        "licence of these weights",
        "training and prediction",
    )
    return table(names, rows)


def licence_notes(runs: Mapping[str, list[Run]]) -> list[str]:
    origins = [origin_of(experiment_of(member_runs[0]).model) for member_runs in runs.values()]
    return [IMAGENET_TERMS] if any(origin.is_imagenet for origin in origins) else []


def scores_table(result: dict) -> str:
    def score(name: str) -> str:
        prefix = name.removesuffix("_score")
        values = {"value": result[name], "low": result[f"{prefix}_low"], "high": result[f"{prefix}_high"]}
        return interval_text(values)

    rows = [("ensemble, mean IoU-mAP of the competition", score("held_out_score"))]
    if result["held_out_auc"]:
        rows.append(
            ("ensemble, AUC of the probability of an opacity in the image", interval_text(result["held_out_auc"]))
        )
    if "test_score" in result:
        rows.append(("test images of the synthetic demo", score("test_score")))
    if "final_score" in result:
        rows.append((f"ensemble, {MARK}", score("final_score")))
    for name, member in result["members"].items():
        metric = "AUC" if "auc" in member else "mean IoU-mAP"
        values = {
            "value": member.get("auc", member.get("held_out_score")),
            "low": member["low"],
            "high": member["high"],
        }
        rows.append((f"{name} alone, {metric}", interval_text(values)))
    return table(("", "value (interval)"), rows)


def groups_table(groups: list[dict]) -> str:
    rows = [
        (
            f"{group['of']}: {group['is']}",
            f"{group['images']} ({group['positives']})",
            f"{group['people']}{' (few)' if group['people'] < FEW_PEOPLE else ''}",
            interval_text(group["score"]),
            interval_text(group["auc"]) if group["auc"] else "-",
        )
        for group in groups
    ]
    return table(("group", "images (positive)", "people", "mean IoU-mAP", "AUC"), rows)


def files_table(result: dict, runs: Mapping[str, list[Run]]) -> str:
    rows = [(Path(result[name]).name, sha256(Path(result[name]))) for name in ("submission", "recipe")]
    rows += [(f"weights of {name}, fold {run.fold}", run.done()["weights_sha256"]) for name, run in with_names(runs)]
    first = next(iter(runs.values()))[0]
    commit = read_json(first.folder / "environment.json")["git_commit"]
    return table(("file", "SHA-256"), [(name, f"`{digest}`") for name, digest in rows]) + (
        f"\n\nTrained by commit {commit or 'unknown'}; versions and processor are in each run's environment.json."
    )
