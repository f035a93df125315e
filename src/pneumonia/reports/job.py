"""The main job's report.html: scores, members, learning curves, and held-out images with boxes."""

from pathlib import Path

import numpy as np

from pneumonia.boxes import geometry
from pneumonia.boxes.predictions import Detections
from pneumonia.data.prepared import Prepared
from pneumonia.data.samples import CachedImages, original_sizes
from pneumonia.metrics.iou_map import Truth
from pneumonia.reports import figures, page
from pneumonia.reports.final_score import MARK, final_section
from pneumonia.reports.leaks import leak_text, people_text, unit_of
from pneumonia.reports.numbers import number_text, range_text
from pneumonia.reports.published_figures import published_split_section
from pneumonia.runs.history import read_history
from pneumonia.runs.run import with_names
from pneumonia.system.files import atomic_write, read_json

PICTURES = 16  # of held-out images, half of them positive
SCOPE = (
    "Research code, not a medical device: do not use it for diagnosis. Scores may be different for another hospital, "
    "scanner or population: measure them there."
)


def write_report(
    path: Path, data: Prepared, result: dict, runs: dict, truth: Truth, held_out: Detections, recipe: Path
) -> None:
    """Write the page.

    Args:
        result: the main job's JSON.
        runs: {member: its runs, one per fold and seed}.
        truth: boxes of the held-out images.
        held_out: their cross-fitted predictions, which `held_out_score` is the score of.
    """
    dataset = result["dataset"]
    sections = []
    if "test_score" in result:  # only the demo has test labels
        sections.append(page.note("Synthetic demo: these scores say nothing about real radiographs or RSNA."))
    sections += [
        score_cards(result),
        *([final_section(result)] if "final_score" in result else []),
        page.section("Members", members_table(result)),
        *([published_split_section(result["split"], classifier_aucs(result))] if result["split"] else []),
        page.section(
            "Learning curves",
            page.paragraph(
                "Loss per epoch. Inner split: people in the training folds whose images are not used for training."
            ),
            *(
                page.plot(figures.learning_curves(histories), f"learning curves of fold {fold}")
                for fold, histories in histories_by_fold(runs).items()
            ),
        ),
        page.section(
            "Held-out images",
            '<p><span class="true">Green</span>: true boxes. <span class="predicted">Orange</span>: predicted ones, '
            "with their confidence, by a recipe fitted on other people.</p>",
            view_link(result),
            page.picture_grid(pictures(data, truth, held_out)),
        ),
        page.section("Recipe", page.paragraph("Fitted on all held-out predictions."), page.code(recipe.read_text())),
        page.section("Environment", environment_table(runs), card_link(result)),
        page.note(SCOPE),
    ]
    with atomic_write(path) as file:
        file.write(page.page(f"Pneumonia detection: {dataset}", lead(result), sections))


def view_link(result: dict) -> str:
    """Link to view.html; where the job has not written it, the command that does."""
    if result["view"]:
        name = page.escape(Path(result["view"]).name)
        return f'<p><a href="{name}">All {result["images_held_out"]} held-out images</a>, with a threshold to move.</p>'
    folder = Path(result["submission"]).parent.name
    return page.paragraph(f"A page of all held-out images: ./run.sh view submission={folder}")


def card_link(result: dict) -> str:
    name = page.escape(Path(result["model_card"]).name)
    return f'<p><a href="{name}">Model card</a>: data, members, scores by sex, age and view, limits, checksums.</p>'


def lead(result: dict) -> str:
    folds = ", ".join(str(fold) for fold in result["folds"])
    return (
        f"{result['images_held_out']} held-out images of {people_text(result)} (fold {folds}): {leak_text(result)}. "
        f"Preset {result['preset']}; {result['test_images']} test images in submission.csv."
    )


def score_cards(result: dict) -> str:
    interval = f"95 % interval {range_text(result['held_out_low'], result['held_out_high'])}, over {unit_of(result)}"
    cards = [
        ("Held-out score", number_text(result["held_out_score"]), f"mean IoU-mAP, recipe cross-fitted; {interval}"),
        ("Tuned on itself", number_text(result["fitted_score"]), "optimistic: scored on the images it was fitted to"),
    ]
    if auc := result["held_out_auc"]:
        interval = f"95 % interval {range_text(auc['low'], auc['high'])}"
        cards.append(
            (
                "Held-out AUC",
                number_text(auc["value"]),
                f"opacity anywhere in the image, by all members; {interval}",
            )
        )
    if "test_score" in result:
        interval = f"95 % interval {range_text(result['test_low'], result['test_high'])}"
        cards.append(
            ("Test score", number_text(result["test_score"]), f"the demo's test labels, not used before; {interval}")
        )
    if "final_score" in result:
        interval = f"95 % interval {range_text(result['final_low'], result['final_high'])}, over people"
        cards.append(("Final score", number_text(result["final_score"]), f"{MARK}: not used before; {interval}"))
    return page.cards(cards)


def members_table(result: dict) -> str:
    rows = []
    for name, member in result["members"].items():
        score = (
            f"AUC {number_text(member['auc'])}"
            if "auc" in member
            else f"IoU-mAP {number_text(member['held_out_score'])}"
        )
        interval = range_text(member["low"], member["high"])
        seconds = f"{member['seconds']:.0f} s" if member["seconds"] else ""
        rows.append((name, member["kind"], score, interval, seconds))
    return page.table(("member", "kind", "held-out score alone", "95 % interval", "training and prediction"), rows)


def classifier_aucs(result: dict) -> list[tuple[str, str, dict]]:
    """(member, part of the published split, AUC) of each classifier, on the held-out and on labelled test images."""
    scored = result["split"]["scored"]
    rows = []
    for name, member in result["members"].items():
        if "auc" in member:
            rows.append((name, scored, {"value": member["auc"], "low": member["low"], "high": member["high"]}))
        if member.get("test_auc"):
            rows.append((name, "test (final test labels)", member["test_auc"]))
    return rows


def histories_by_fold(runs: dict) -> dict[int, dict[str, list[dict]]]:
    """Return {fold: {network: [metrics.jsonl lines]}}."""
    histories: dict[int, dict[str, list[dict]]] = {}
    for name, run in with_names(runs):
        histories.setdefault(run.fold, {})[name] = read_history(run.folder)
    return histories


def pictures(data: Prepared, truth: Truth, held_out: Detections) -> list[tuple[str, str]]:
    """Return (data URI, caption) of the first positive images and of the negative ones with the highest confidence."""
    order = np.arange(len(held_out))
    truth = truth.select(held_out.ids)
    counts = np.diff(truth.offsets)
    highest = np.array([held_out.image(row)[1].max(initial=0.0) for row in order])
    positive = order[counts > 0][: PICTURES // 2]
    negative = order[counts == 0]
    negative = negative[np.argsort(-highest[negative], kind="stable")][: PICTURES - len(positive)]
    selected = [*positive, *negative]
    ids = [held_out.ids[row] for row in selected]
    images = CachedImages(data.cache, ids, data.cache.size)
    captioned = []
    for k, (row, (rows, columns)) in enumerate(zip(selected, original_sizes(data.cache, ids))):
        factors = data.cache.size / columns, data.cache.size / rows
        boxes, scores = held_out.image(row)
        true = geometry.scale(truth.boxes[truth.offsets[row] : truth.offsets[row + 1]], *factors)
        uri = figures.picture(images[k], true, geometry.scale(boxes, *factors), scores)
        kind = f"{counts[row]} true, " if counts[row] else "no finding, "
        captioned.append((uri, f"{kind}{len(boxes)} predicted · {ids[k][:8]}"))
    return captioned


def environment_table(runs: dict) -> str:
    first = next(iter(runs.values()))[0]
    environment = read_json(first.folder / "environment.json")
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    rows = [
        ("processor", f"{environment['processor']}, {environment['cores']} cores"),
        ("devices", ", ".join(environment["devices"])),
        ("backend", environment["backend"]),
        ("commit", environment["git_commit"] or "unknown"),
        ("packages", packages),
        ("data", f"{environment['data']} (key {environment['data_key']})"),
    ]
    return page.table(("", ""), rows)
