"""Explore a competition's data: a summary and an HTML page. The tables are enough, images are optional.

"By row" counts rows of the label table, in which an image with k boxes has k rows, as the student report does.
"""

import numpy as np
import pandas as pd

from pneumonia.boxes.image_ids import STAGE_1, STAGE_1_FILES
from pneumonia.data.competition import Competition
from pneumonia.data.folds import holdout_ids
from pneumonia.data.labels import CLASSES
from pneumonia.reports import eda_figures as figures
from pneumonia.reports import page
from pneumonia.reports.readers import readers_sections

CACHE_SIZE = 256  # pixels: enough for mean images and examples
AGE_LIMITS = (-1, *range(0, 1000, 10))  # years: 0, then (0,10], ...; DICOM writes at most 999


def summary_of(study: pd.DataFrame, people_of: dict[str, str]) -> dict:
    """Return counts and shares of the whole table.

    Args:
        study: study table with sex, age and view as in the DICOM headers.
        people_of: image to person. Images that are not in it are counted in images_without_person, but not as people;
            if it is empty, every image counts as a separate person.
    """
    boxes = study["boxes"].map(len)
    rows = boxes.clip(lower=1)
    by_row = study.loc[study.index.repeat(rows)]
    ages = pd.cut(by_row["age"], AGE_LIMITS).value_counts(sort=False)
    known = study["patientId"].isin(people_of.keys()) if people_of else np.ones(len(study), dtype=bool)
    people = study[known].groupby("group").size()
    return {
        "rows": int(rows.sum()),
        "images": len(study),
        "boxes": int(boxes.sum()),
        "repeated_ids": int(rows.sum() - len(study)),
        "images_by_rows": counts(rows),
        "class_rows": counts(by_row["class"].map(CLASSES.display)),
        "class_images": counts(study["class"].map(CLASSES.display)),
        "target_images": counts(study["target"]),
        "sex_share_rows": {name: float(share) for name, share in by_row["sex"].value_counts(normalize=True).items()},
        "view_images": counts(study["view"]),
        "age_groups_rows": {
            f"({band.left},{band.right}]" if band.right else "0": int(count) for band, count in ages.items() if count
        },
        "people": len(people),
        "people_with_several": int((people > 1).sum()),
        "images_of_people_with_several": int(people[people > 1].sum()),
        "max_images_of_a_person": int(people.max()) if len(people) else 0,
        "images_without_person": int((~known).sum()),
    }


def counts(column: pd.Series) -> dict[str, int]:
    """Return {value: number of rows}, sorted by value, without missing values."""
    return {str(value): int(count) for value, count in column.value_counts().sort_index().items()}


def stage_1_ids(competition: Competition) -> set[str]:
    """Return the ids of the first stage's test images; empty if the folder does not list them."""
    has_list = any((competition.root / name).is_file() for name in STAGE_1_FILES)
    return set(holdout_ids(competition, STAGE_1)) if has_list else set()


def stage_1_summary(study: pd.DataFrame, stage_1: set[str]) -> dict:
    """Compare the first stage's test set, the only labelled images with the test set's distribution, with the rest."""
    if not stage_1:
        return {}
    in_stage_1 = study["patientId"].isin(stage_1)
    parts = {}
    for name, rows in (("stage_1", in_stage_1), ("rest", ~in_stage_1)):
        boxes = np.concatenate([np.empty((0, 4)), *study.loc[rows, "boxes"]])
        parts[name] = {
            "images": int(rows.sum()),
            "positive_share": float(study.loc[rows, "target"].mean()),
            "median_width": float(np.median(boxes[:, 2])) if len(boxes) else None,
            "median_height": float(np.median(boxes[:, 3])) if len(boxes) else None,
            "mean_area": float(np.prod(boxes[:, 2:], axis=1).mean()) if len(boxes) else None,
        }
    shared_people = set(study.loc[in_stage_1, "group"]) & set(study.loc[~in_stage_1, "group"])
    shared = in_stage_1 & study["group"].isin(shared_people)
    return {"stage_1": parts | {"images_sharing_a_person_with_the_rest": int(shared.sum())}}


def open_cache(competition: Competition, workers: int):
    """Open the image cache; None if the folder has no images."""
    if not competition.train_images:
        return None
    from pneumonia.data.ingest import ingest

    return ingest(competition, CACHE_SIZE, workers=workers)


def build_page(competition: Competition, study: pd.DataFrame, summary: dict, stage_1: set[str], cache) -> str:
    """Build the HTML page. cache: for mean images and examples, or None."""
    lead = (
        f"{summary['images']} images of {summary['people']} people, {summary['boxes']} boxes; {competition.root.name}"
    )
    sections = []
    if competition.mapping is None:
        sections.append(page.note("No table of people: every image counts as a separate person."))
    if competition.name == "demo":
        sections.append(page.note("Synthetic demo: these figures say nothing about real radiographs."))
    sections += [
        page.cards(
            [
                ("Images", f"{summary['images']:,}", f"{summary['rows']:,} rows in the label table"),
                ("Positive", f"{study['target'].mean():.1%}", f"{summary['boxes']:,} boxes"),
                ("People", f"{summary['people']:,}", f"{summary['people_with_several']:,} with several images"),
            ]
        ),
        page.section("Classes and targets", page.plot(figures.classes(study), "classes and targets")),
        page.section("Boxes per image", page.table(("boxes", "images"), box_count_rows(study))),
    ]
    if known := [column for column in ("sex", "view", "age") if study[column].notna().any()]:
        title = " and ".join(filter(None, (", ".join(known[:-1]), known[-1]))).capitalize()
        sections.append(page.section(title, *people_sections(study, summary, known)))
    sections.append(page.section("Boxes", page.plot(figures.boxes(study), "box centres, sizes and aspect")))
    if stage_1:
        sections.append(page.section("The first stage's test set", *stage_1_sections(summary)))
    if "readers" in summary:
        sections.append(page.section("Readers", *readers_sections(summary["readers"])))
    if cache is not None:
        means = page.plot(figures.mean_images(study, cache), "mean image of each class")
        sections += [
            page.section("Mean image of each class", means),
            page.section("Examples", page.picture_grid(figures.examples(study, cache))),
        ]
    return page.page(f"Exploration: {competition.name}", lead, sections)


def box_count_rows(study: pd.DataFrame) -> list[tuple[str, str]]:
    return [(boxes, f"{images:,}") for boxes, images in counts(study["boxes"].map(len)).items()]


def people_sections(study: pd.DataFrame, summary: dict, known: list[str]) -> list[str]:
    """Tables and figures of the columns in `known`: those of sex, view and age that any header has."""
    rows = [row for column in known if column != "age" for row in share_rows(study, column)]
    parts = [page.table(("", "images", "of all", "positive"), rows)] if rows else []
    parts.append(page.plot(figures.people(study, known), f"{', '.join(known)} against class"))
    if doubtful := int((study["age"] > figures.OLDEST).sum()):
        parts.append(page.note(f"{doubtful} images have an age above {figures.OLDEST}: an error, missing for models."))
    if "age" in known:
        groups = [(name, f"{count:,}") for name, count in summary["age_groups_rows"].items()]
        parts += ["<h3>Age groups, by row</h3>", page.table(("age", "rows"), groups)]
    return parts


def share_rows(study: pd.DataFrame, column: str) -> list[tuple[str, str, str, str]]:
    """Return a row for each value of a column: images, their share of all, and the share that is positive."""
    known = study[study[column].notna()]
    return [
        (value, f"{len(part):,}", f"{len(part) / len(known):.1%}", f"{part['target'].mean():.1%}")
        for value, part in known.groupby(column)
    ]


def stage_1_sections(summary: dict) -> list[str]:
    rows = []
    for name in ("stage_1", "rest"):
        part = summary["stage_1"][name]
        sizes = [
            f"{part[key]:,.0f}" if part[key] is not None else "-"
            for key in ("median_width", "median_height", "mean_area")
        ]
        rows.append((name.replace("_", " "), f"{part['images']:,}", f"{part['positive_share']:.1%}", *sizes))
    header = ("", "images", "positive", "median width", "median height", "mean area")
    shared = summary["stage_1"]["images_sharing_a_person_with_the_rest"]
    return [
        page.table(header, rows),
        page.paragraph(f"{shared:,} images of stage 1 are of people who also have images in the rest."),
    ]
