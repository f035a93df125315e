"""`./run.sh folds`: makes a fold table grouped by person, or audits another one."""

from pathlib import Path

import pandas as pd

from pneumonia import config, schema
from pneumonia.data.competition import Competition, resolve
from pneumonia.data.folds import NO_MAPPING, count_leaks, fold_table, holdout_of
from pneumonia.data.headers import check_headers, read_headers
from pneumonia.data.labels import CLASSES
from pneumonia.data.people import Unmapped, check_people
from pneumonia.data.published_split import is_published, read_split, split_of_setting, unlabelled_ids
from pneumonia.data.study_table import study_table
from pneumonia.system.csv_rows import first_faults, read_rows
from pneumonia.system.errors import BadInput, Fault, bad_input
from pneumonia.system.files import sha256
from pneumonia.system.progress import say


def folds(settings: schema.Folds) -> dict:
    """Write and print the fold table; return its file, its checksum, leaking people and the counts of each fold."""
    competition = resolve(settings, needs_images=False, needs_sample=False)
    if settings.audit:
        return audit(competition, config.user_path(settings.audit))
    split = split_of_setting(settings.split) or settings.split
    if competition.mapping is None:
        say(NO_MAPPING)
    headers = read_headers(
        competition, config.user_path(settings.headers) if settings.headers else None, settings.workers
    )
    study = study_table(competition, settings.clip_boxes, headers)
    if settings.headers:
        check_headers(headers, study["patientId"], config.user_path(settings.headers))
    unmapped = competition.check_mapping(list(study["patientId"]))
    holdout = holdout_of(competition, study, settings.holdout)
    out = config.user_path(settings.out) if settings.out else None
    path, table = fold_table(competition, study, settings.n_folds, settings.seed, holdout, split, out)
    rows = fold_rows(table, study)
    print_rows(rows)
    leaks = report_leaks(table, unmapped)
    print(f"fold table: {path}")
    counts = [{key: row[key] for key in ("fold", "images", "people", "positives", "boxes")} for row in rows]
    return {"file": path, "sha256": sha256(path), **leaks, "folds": counts}


def report_leaks(table: pd.DataFrame, unmapped: Unmapped | None) -> dict:
    """Print and return the number of people in more than one fold; None without a mapping."""
    if unmapped is None:
        print("\nleaking people: not known, there is no mapping=")
        return {"leaking_people": None, "leaking_images": None, "unmapped": None}
    people, images = count_leaks(table)
    unknown = f"; not known of {unmapped}, which the mapping lacks" if unmapped.count else ""
    print(f"\nleaking people: {people} ({images} images){unknown}")
    return {"leaking_people": people, "leaking_images": images, "unmapped": unmapped.as_json()}


def audit(competition: Competition, file: Path) -> dict:
    """Count the people that a table (patientId, fold) has in more than one fold, or a published split in several parts.

    Raises:
        BadInput: the file is not such a table or split, or there is no mapping.
    """
    if competition.mapping is None:
        raise bad_input("mapping", "is missing", "give mapping=, the table of images and people, to audit folds with")
    fold_of = read_split(file).parts if is_published(file) else read_folds(file)
    people, test_ids = competition.people(), unlabelled_ids(competition)
    names = [name for name in fold_of if name in people or name not in test_ids]
    if len(names) < len(fold_of):
        say(f"{file}: not known of {len(fold_of) - len(names)} images of the test set, which the mapping lacks")
    unmapped = check_people(people, names, competition.mapping, file.name, competition.allow_unmapped)
    table = pd.DataFrame(
        {"group": [people.get(name, name) for name in names], "fold": [fold_of[name] for name in names]}
    )
    people_count, images = count_leaks(table)
    share = images / max(len(table), 1)
    print(
        f"{file}: {people_count} people are in more than one fold, with {images} of {len(table)} images ({share:.1%})"
    )
    return {
        "file": file,
        "leaking_people": people_count,
        "leaking_images": images,
        "images": len(table),
        "unmapped": unmapped.as_json(),
    }


def read_folds(file: Path) -> dict[str, str]:
    """Read {image: fold} of a fold table (patientId, fold). Raises BadInput with all its faults."""
    faults: list[Fault] = []
    rows = list(read_rows(file, [["patientId", "fold"], ["patientId", "group", "fold"]], faults))
    if faults:
        raise BadInput(first_faults(faults, file))
    return {name: cells[-1] for _, (name, *cells) in rows}


def fold_rows(table: pd.DataFrame, study: pd.DataFrame) -> list[dict]:
    """Counts and shares of each fold; of test images without labels, only how many they are."""
    rows = []
    for fold, images in table.groupby("fold", sort=True):
        part = images.merge(study.drop(columns="group"), on="patientId")
        is_labelled = len(part) > 0
        row = {
            "fold": fold,
            "images": len(images),
            "people": images["group"].nunique(),
            "positives": int(part["target"].sum()) if is_labelled else None,
            "boxes": int(part["boxes"].map(len).sum()) if is_labelled else None,
            "positive": part["target"].mean() if is_labelled else None,
        }
        for name in CLASSES.names:
            if name != CLASSES.positive:
                row[name] = (part["class"] == name).mean() if is_labelled else None
        row |= {"AP": share_of_known(part["view"], "AP"), "male": share_of_known(part["sex"], "M")}
        rows.append(row)
    return rows


def share_of_known(column: pd.Series, value: str) -> float | str:
    """The share of `value` among the images whose value is known; "-" where none is known."""
    known = column.dropna()
    return (known == value).mean() if len(known) else "-"


def print_rows(rows: list[dict]) -> None:
    print("  ".join(f"{name:>10s}" for name in rows[0]))
    for row in rows:
        texts = ("-" if value is None else value for value in row.values())
        print("  ".join(f"{value:>10.2%}" if isinstance(value, float) else f"{value!s:>10s}" for value in texts))
