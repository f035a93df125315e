"""What is in a competition folder, as a summary and one page. Its tables alone are enough.

"By row" counts the rows of the label table, where an image with k boxes stands k times, as the student report does.
"""

import numpy as np
import pandas as pd

from pneumonia.boxes.image_ids import STAGE_1, STAGE_1_FILES
from pneumonia.data.competition import Competition
from pneumonia.data.folds import holdout_ids
from pneumonia.data.labels import CLASSES
from pneumonia.reports import eda_figures as figures
from pneumonia.reports import page

CACHED = 256  # pixels: enough for means and examples


def summary_of(study: pd.DataFrame, people_of: dict[str, str]) -> dict:
    """The counts and shares of the whole table.

    Args:
        study: study table with sex, age and view as they stand in the headers.
        people_of: image to person. Images that it lacks are counted in images_without_person and in no person; where
            it is empty every image is a person of its own.
    """
    boxes = study["boxes"].map(len)
    rows = boxes.clip(lower=1)
    by_row = study.loc[study.index.repeat(rows)]
    groups = pd.cut(by_row["age"], range(0, 161, 10))
    ages = groups.value_counts(sort=False)
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
        "sex_share_rows": {name: float(part) for name, part in by_row["sex"].value_counts(normalize=True).items()},
        "view_images": counts(study["view"]),
        "age_groups_rows": {f"({each.left},{each.right}]": int(count) for each, count in ages.items() if count},
        "people": len(people),
        "people_with_several": int((people > 1).sum()),
        "images_of_people_with_several": int(people[people > 1].sum()),
        "max_images_of_a_person": int(people.max()) if len(people) else 0,
        "images_without_person": int((~known).sum()),
    }


def counts(column: pd.Series) -> dict[str, int]:
    """{value: how often}, in the order of the values; missing ones are not counted."""
    return {str(value): int(count) for value, count in column.value_counts().sort_index().items()}


def stage_1_ids(competition: Competition) -> set[str]:
    """The first stage's test images, where the folder says which they are; else none."""
    known = any((competition.root / name).is_file() for name in STAGE_1_FILES)
    return set(holdout_ids(competition, STAGE_1)) if known else set()


def stage_1_summary(study: pd.DataFrame, stage_1: set[str]) -> dict:
    """The first stage's test set against the rest: its labels are the only public ones drawn like the test set."""
    if not stage_1:
        return {}
    found = {}
    for name, part in (("stage_1", study["patientId"].isin(stage_1)), ("rest", ~study["patientId"].isin(stage_1))):
        boxes = np.concatenate([np.empty((0, 4)), *study.loc[part, "boxes"]])
        found[name] = {
            "images": int(part.sum()),
            "positive_share": float(study.loc[part, "target"].mean()),
            "median_width": float(np.median(boxes[:, 2])) if len(boxes) else None,
            "median_height": float(np.median(boxes[:, 3])) if len(boxes) else None,
            "mean_area": float(np.prod(boxes[:, 2:], axis=1).mean()) if len(boxes) else None,
        }
    people = set(study.loc[study["patientId"].isin(stage_1), "group"])
    rest = set(study.loc[~study["patientId"].isin(stage_1), "group"])
    shared = study["patientId"].isin(stage_1) & study["group"].isin(people & rest)
    return {"stage_1": found | {"images_sharing_a_person_with_the_rest": int(shared.sum())}}


def images_of(competition: Competition, workers: int):
    """The image cache, where the folder has images."""
    if not competition.train_images:
        return None
    from pneumonia.data.ingest import ingest

    return ingest(competition, CACHED, workers=workers)


def page_of(competition: Competition, study: pd.DataFrame, summary: dict, stage_1: set[str], cache) -> str:
    lead = (
        f"{summary['images']} images of {summary['people']} people, {summary['boxes']} boxes; {competition.root.name}"
    )
    sections = []
    if competition.mapping is None:
        sections.append(page.note("No table of people: every image counts as a person of its own."))
    if competition.name == "demo":
        sections.append(page.note("The synthetic demo: nothing here says anything about real radiographs."))
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
    if study["age"].notna().any():
        sections.append(page.section("Sex, view and age", *people_sections(study, summary)))
    sections.append(page.section("Boxes", page.plot(figures.boxes(study), "box centres, sizes and aspect")))
    if stage_1:
        sections.append(page.section("The first stage's test set", *stage_1_sections(summary)))
    if cache is not None:
        means = page.plot(figures.mean_images(study, cache), "mean image of each class")
        sections += [
            page.section("Mean image of each class", means),
            page.section("Examples", page.picture_grid(figures.examples(study, cache))),
        ]
    return page.page(f"Exploration: {competition.name}", lead, sections)


def box_count_rows(study: pd.DataFrame) -> list[tuple[str, str]]:
    return [(boxes, f"{images:,}") for boxes, images in counts(study["boxes"].map(len)).items()]


def people_sections(study: pd.DataFrame, summary: dict) -> list[str]:
    groups = [(name, f"{count:,}") for name, count in summary["age_groups_rows"].items()]
    doubtful = int((study["age"] > figures.OLDEST).sum())
    header = ("", "images", "of all", "positive")
    parts = [
        page.table(header, [*share_rows(study, "sex"), *share_rows(study, "view")]),
        page.plot(figures.people(study), "sex, view and age against class"),
    ]
    if doubtful:
        parts.append(page.note(f"{doubtful} images have an age above {figures.OLDEST}: errors, missing for models."))
    return [*parts, "<h3>Age groups, by row</h3>", page.table(("age", "rows"), groups)]


def share_rows(study: pd.DataFrame, column: str) -> list[tuple[str, str, str, str]]:
    """Images, their share of all, and the share of positives among them, for each value of a column."""
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
    return [page.table(header, rows), page.paragraph(f"{shared:,} of them share a person with the rest.")]
