"""Fold tables: no person is in two folds, and every fold has the mix of the whole.

In RSNA every image has its own patientId, but people have several images: in a split by image, 70 % of the images share
their person with another fold.
"""

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from pneumonia import config
from pneumonia.boxes.image_ids import ids_file, read_ids, spelling_difference
from pneumonia.config import REPOSITORY
from pneumonia.data.ages import plausible_ages
from pneumonia.data.competition import Competition
from pneumonia.data.published_split import PUBLISHED, REPORT, PublishedSplit, published_table, scored_part, split_key
from pneumonia.system.errors import bad_input
from pneumonia.system.files import atomic_write

AGE_BANDS = [0, 20, 40, 60, 200]  # years, right-closed
MIN_STRATUM = 10  # images per fold that a stratum must have
NO_MAPPING = (
    "warning: without mapping= the folds are by image, and about 70 % of RSNA's images then share a person with "
    "another fold: scores will be too high. Get pneumonia-challenge-dataset-mappings_2018.json from RSNA's page"
)


def make_folds(study: pd.DataFrame, n_folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Make folds 0 .. n_folds - 1 of whole people, with strata of class x view x sex x age band as even as possible.

    Args:
        study: patientId, class, group, and where known sex, age, view. The order of its rows does not matter.

    Returns:
        patientId, group, fold; ordered by patientId.
    """
    study = study.sort_values("patientId", ignore_index=True)
    strata = number_strata(study, MIN_STRATUM * n_folds)
    fold = np.zeros(len(study), dtype=np.int64)
    split = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about strata with fewer images than folds
        for number, (_, held_out) in enumerate(split.split(study, strata, study["group"])):
            fold[held_out] = number
    return study[["patientId", "group"]].assign(fold=fold)


def number_strata(study: pd.DataFrame, least: int) -> np.ndarray:
    """(images,) number of each image's stratum: class x view x sex x age band, coarser where that has fewer than
    `least` images. Many small strata would be spread unevenly, and with them the classes."""
    ages = pd.cut(plausible_ages(study["age"].astype(float)), AGE_BANDS).astype(str)
    stratum = pd.Series("", index=study.index)
    finer = stratum
    for column in (study["class"], study["view"].fillna(""), study["sex"].fillna(""), ages):
        finer = finer + "/" + column
        stratum = finer.where(finer.map(finer.value_counts()) >= least, stratum)
    return pd.factorize(stratum)[0]


def make_holdout_folds(study: pd.DataFrame, holdout: Collection[str], n_folds: int, seed: int) -> pd.DataFrame:
    """Make folds without the people of `holdout`: its images are in fold `holdout`, their other images in `removed`."""
    is_holdout = study["patientId"].isin(set(holdout))
    is_excluded = study["group"].isin(set(study.loc[is_holdout, "group"]))
    fold = np.where(is_holdout[is_excluded], "holdout", "removed")
    excluded = study.loc[is_excluded, ["patientId", "group"]].assign(fold=fold)
    check_people(study[~is_excluded], n_folds, " outside the holdout")
    table = make_folds(study[~is_excluded], n_folds, seed)
    return pd.concat([table, excluded]).sort_values("patientId", ignore_index=True)


def check_people(study: pd.DataFrame, n_folds: int, which: str = "") -> None:
    """Raises BadInput where there are fewer people than folds."""
    people = study["group"].nunique()
    if people < max(n_folds, 2):
        raise bad_input("n_folds", f"{n_folds} folds of {people} people{which}", f"choose 2 to {max(people, 2)}")


def make_report_split(study: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Make the student report's split: a tenth of the images in val and in test, stratified by target, not person."""
    study = study.sort_values("patientId", ignore_index=True)
    tenth = round(len(study) / 10)
    if tenth < 2 or study["target"].value_counts().min() < 3 or study["target"].nunique() < 2:
        what = f"{len(study)} images are too few for train, val and test with both targets"
        raise bad_input("split", what, "leave split= out: folds need fewer")
    rest, test = train_test_split(study.index, test_size=tenth, stratify=study["target"], random_state=seed)
    train, val = train_test_split(rest, test_size=tenth, stratify=study.loc[rest, "target"], random_state=seed)
    fold = pd.Series("train", index=study.index)
    fold[val], fold[test] = "val", "test"
    assert len(train) == (fold == "train").sum()
    return study[["patientId", "group"]].assign(fold=fold)


def count_leaks(table: pd.DataFrame) -> tuple[int, int]:
    """Count people with images in several folds, and the images of these people; removed images do not count."""
    used = table[table["fold"].astype(str) != "removed"]
    folds_of_person = used.groupby("group")["fold"].nunique()
    people = folds_of_person.index[folds_of_person > 1]
    return len(people), int(used["group"].isin(people).sum())


def describe_split(table: pd.DataFrame, study: pd.DataFrame, has_people: bool) -> dict:
    """What pages say of a published split.

    Args:
        has_people: whether groups are people: there is a mapping.

    Returns:
        scored: the part that is held out; train, val, test: numbers of images; leaking_people, leaking_images: of
        count_leaks, None without people; key: of split_key.
    """
    people, images = count_leaks(table) if has_people else (None, None)
    return {
        "scored": scored_part(table, study),
        **{part: int((table["fold"] == part).sum()) for part in ("train", "val", "test")},
        "leaking_people": people,
        "leaking_images": images,
        "key": split_key(table),
    }


def fold_table(
    competition: Competition,
    study: pd.DataFrame,
    n_folds: int = 5,
    seed: int = 0,
    holdout: Collection[str] = (),
    split: str | PublishedSplit = "",
    out: Path | None = None,
) -> tuple[Path, pd.DataFrame]:
    """Make a fold table and write it; the same input always gives the same file.

    Its path contains a hash of every setting, so that two configurations never share a file.

    Args:
        split: "" for folds, `report`, or a published split.

    Raises:
        BadInput: fewer people than folds, a published split that does not fit the images, or a split and a holdout.
    """
    check_people(study, n_folds)
    if split and holdout:
        raise bad_input("holdout", "has no effect beside split=", "give one of the two")
    if isinstance(split, PublishedSplit):
        table, label = published_table(split, competition, study), PUBLISHED
        split = sorted(zip(table["patientId"], table["fold"]))
    elif split == REPORT:
        table, label = make_report_split(study, seed), REPORT
    elif holdout:
        table, label = make_holdout_folds(study, holdout, n_folds, seed), f"{n_folds}-holdout"
    else:
        table, label = make_folds(study, n_folds, seed), str(n_folds)
    # headers decide the strata, but the folder's content key does not cover a table given as headers=
    rows = study.sort_values("patientId")[["patientId", "class", "group", "sex", "age", "view"]].astype(str)
    key = config.short_hash([n_folds, seed, sorted(holdout), split, rows.to_numpy().tolist()])
    folder = REPOSITORY / "folds" / f"{competition.name}-{competition.content_key}"
    path = out or folder / f"{label}-seed{seed}-{key}.csv"
    with atomic_write(path) as file:
        table.to_csv(file, index=False)
    return path, table


def holdout_of(competition: Competition, study: pd.DataFrame, text: str) -> list[str]:
    """Ids that `holdout=` names. Raises BadInput where one is not in the study table."""
    holdout = holdout_ids(competition, text)
    unknown = set(holdout) - set(study["patientId"])
    if unknown:
        difference = spelling_difference(sorted(unknown), study["patientId"])
        what = f"{len(unknown)} of its ids are not in the label table, the first is {min(unknown)}{difference}"
        raise bad_input(text, what, "name ids of training images")
    return holdout


def holdout_ids(competition: Competition, text: str) -> list[str]:
    """Read the ids that `holdout=` names: from a file, or the first stage's test set in the data folder.

    Raises:
        BadInput: the file does not exist, or has no ids.
    """
    return read_ids(ids_file(text, competition.root, "holdout")) if text else []
