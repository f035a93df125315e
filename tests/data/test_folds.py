"""Fold tables: nobody in two folds, every fold like the whole, the same for the same input."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from pneumonia import cli
from pneumonia.data.competition import open_competition
from pneumonia.data.folds import count_leaks, make_folds, make_holdout_folds, make_report_split
from pneumonia.data.headers import read_headers
from pneumonia.data.study_table import study_table
from pneumonia.demo import competition as phantom
from pneumonia.system.errors import BadInput

needs_tables = pytest.mark.skipif("RSNA_TABLES" not in os.environ, reason="RSNA_TABLES names no folder")


def study(people=300, seed=0) -> pd.DataFrame:
    """People with one to six images, some more ill than others."""
    rng = np.random.default_rng(seed)
    group = np.repeat([f"p{k}" for k in range(people)], rng.integers(1, 7, people))
    ill = dict(zip(np.unique(group), rng.random(people)))
    kinds = [rng.choice(["normal", "not_normal", "opacity"], p=[0.7 * (1 - ill[g]), 0.3, 0.7 * ill[g]]) for g in group]
    return pd.DataFrame(
        {
            "patientId": [f"i{k:05d}" for k in rng.permutation(len(group))],
            "target": [int(kind == "opacity") for kind in kinds],
            "class": kinds,
            "group": group,
            "sex": rng.choice(["M", "F"], len(group)),
            "age": rng.integers(1, 90, len(group)).astype(float),
            "view": rng.choice(["AP", "PA"], len(group)),
            "boxes": [np.zeros((int(kind == "opacity"), 4)) for kind in kinds],
        }
    )


def test_nobody_is_in_two_folds_and_every_fold_is_like_the_whole():
    table = study()
    folds = make_folds(table)
    assert count_leaks(folds) == (0, 0)
    merged = folds.merge(table, on="patientId")
    shares = merged.groupby("fold")["target"].mean()
    assert (shares - table["target"].mean()).abs().max() < 0.01
    assert merged.groupby("fold").size().pipe(lambda sizes: sizes.max() - sizes.min()) < 10


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    table = study()
    shuffled = table.sample(frac=1, random_state=3)
    assert make_folds(table).equals(make_folds(shuffled))
    assert not make_folds(table).equals(make_folds(table, seed=1))


def test_missing_headers_are_a_stratum_like_any_other():
    table = study().assign(sex=None, view=None, age=np.nan)
    assert count_leaks(make_folds(table)) == (0, 0)


def test_leaks_are_counted():
    table = pd.DataFrame({"group": ["a", "a", "b", "b", "c", "c"], "fold": [0, 1, 0, 0, 1, "removed"]})
    assert count_leaks(table) == (1, 2)


def test_everybody_in_the_holdout_leaves_training():
    table = study()
    chosen = list(table["patientId"][:40])
    folds = make_holdout_folds(table, chosen, 5, 0)
    assert set(folds.loc[folds["fold"] == "holdout", "patientId"]) == set(chosen)
    assert count_leaks(folds) == (0, 0)
    assert sorted(folds["patientId"]) == sorted(table["patientId"])
    removed = set(folds.loc[folds["fold"] == "removed", "group"])
    assert removed <= set(folds.loc[folds["fold"] == "holdout", "group"])


def test_the_reports_split_is_eight_one_one_by_target():
    table = study(people=800)
    folds = make_report_split(table, 0).merge(table, on="patientId")
    tenth = round(len(table) / 10)
    assert folds["fold"].value_counts().to_dict() == {"train": len(table) - 2 * tenth, "val": tenth, "test": tenth}
    assert folds.groupby("fold")["target"].mean().pipe(lambda shares: shares.max() - shares.min()) < 0.01


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return phantom.generate(tmp_path_factory.mktemp("demo") / "rsna (1)", train_images=40, test_images=4)


def folds(capsys, folder, *words) -> tuple[int, dict, str]:
    code = cli.main(["folds", f"data={folder}", "json=true", *words])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


def test_the_command_writes_the_table_it_describes(folder, capsys, tmp_path):
    out = tmp_path / "folds.csv"
    code, result, _ = folds(capsys, folder, f"out={out}")
    assert code == 0 and result["leaking_people"] == 0 and result["file"] == str(out)
    table = pd.read_csv(out)
    assert list(table.columns) == ["patientId", "group", "fold"]
    for each in result["folds"]:
        part = table[table["fold"] == each["fold"]]
        assert (len(part), part["group"].nunique()) == (each["images"], each["people"])
    again = tmp_path / "again.csv"
    _, second, _ = folds(capsys, folder, f"out={again}")
    assert second["sha256"] == result["sha256"]
    competition = open_competition(folder)
    study = study_table(competition, header=read_headers(competition, workers=1))
    assert make_folds(study)["fold"].tolist() == table["fold"].tolist()


def test_two_configurations_never_share_a_path(folder, capsys):
    headers = read_headers(open_competition(folder), workers=1)
    headers["sex"] = headers["sex"].map({"M": "F", "F": "M"})
    headers.to_csv(folder.parent / "headers.csv", index=False)
    holdout = folder.parent / "ids.txt"
    holdout.write_text("\n".join(sorted(path.stem for path in (folder / "stage_2_train_images").iterdir())[:4]))
    settings = [[], ["n_folds=4"], ["seed=1"], ["split=report"], [f"holdout={holdout}"]]
    settings.append([f"headers={folder.parent / 'headers.csv'}"])
    files = [Path(folds(capsys, folder, *words)[1]["file"]) for words in settings]
    assert len(set(files)) == len(files)
    for file in files:
        file.unlink()
    files[0].parent.rmdir()


def test_without_a_mapping_it_warns(folder, capsys, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"):
        (bare / name).write_bytes((folder / name).read_bytes())
    code, _, said = folds(capsys, bare, f"out={tmp_path / 'a.csv'}")
    assert code == 0
    assert "70 %" in said and "pneumonia-challenge-dataset-mappings_2018.json" in said


def test_an_audit_finds_the_people_in_two_folds(folder, capsys, tmp_path):
    people = open_competition(folder).people()
    train = [path.stem for path in (folder / "stage_2_train_images").iterdir()]
    leaky = tmp_path / "theirs.csv"
    leaky.write_text("patientId,fold\n" + "".join(f"{name},{k % 2}\n" for k, name in enumerate(sorted(train))))
    _, result, _ = folds(capsys, folder, f"audit={leaky}")
    folds_of = {}
    for k, name in enumerate(sorted(train)):
        folds_of.setdefault(people[name], []).append(k % 2)
    several = [each for each in folds_of.values() if len(set(each)) > 1]
    assert several and result["leaking_people"] == len(several)
    assert result["leaking_images"] == sum(map(len, several))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["holdout=stage1"], "stage_1_test_ids.csv"),
        (["holdout=/nowhere"], "one per line"),
        (["n_folds=1"], "give 2 or more"),
        (["n_folds=1000"], "choose 2 to"),
        (["split=half"], "there is no such file or folder; give split= report, a folder of train_list.txt"),
        (["audit=/nowhere.csv"], "/nowhere.csv"),
        (["headers=/nowhere.csv"], "/nowhere.csv"),
    ],
)
def test_bad_settings_are_one_clear_fault(folder, capsys, words, says):
    code, result, said = folds(capsys, folder, *words)
    assert code == 2 and len(result["error"]) == 1
    assert says in said


# ------------------------------------------------------------------ the real tables


@pytest.fixture(scope="module")
def real() -> pd.DataFrame:
    tables = Path(os.environ["RSNA_TABLES"])
    mapping = str(tables / "rsna_nih_mapping.csv")
    competition = open_competition(tables, mapping, needs_images=False, needs_sample=False)
    return study_table(competition, header=read_headers(competition, tables / "stage_2_train_dicom_headers.csv.gz"))


@needs_tables
def test_real_folds_are_even(real):
    folds = make_folds(real)
    assert count_leaks(folds) == (0, 0)
    shares = folds.merge(real, on="patientId").groupby("fold")["target"].mean()
    assert (shares - 0.2253).abs().max() <= 0.0015


@needs_tables
def test_the_real_reports_split_has_its_sizes(real):
    assert make_report_split(real, 0)["fold"].value_counts().to_dict() == {"train": 21348, "val": 2668, "test": 2668}


@needs_tables
def test_what_a_split_by_image_leaks(real):
    """70.0 % of the images and 89.5 % of the positives share a person with another fold, give or take the seed; the
    label can be guessed from the person's images in other folds with AUC 0.725, from a grouped split's not at all."""
    fold = np.zeros(len(real), dtype=int)
    for k, (_, held_out) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(real, real["target"])):
        fold[held_out] = k
    by_image = real.assign(fold=fold)
    folds_of_person = by_image.groupby("group")["fold"].nunique()
    leaks = by_image["group"].isin(folds_of_person.index[folds_of_person > 1])
    assert leaks.mean() == pytest.approx(0.700, abs=0.005)
    assert leaks[by_image["target"] == 1].mean() == pytest.approx(0.895, abs=0.005)
    assert guess_auc(by_image) == pytest.approx(0.725, abs=0.005)
    grouped = real.merge(make_folds(real)[["patientId", "fold"]], on="patientId")
    assert guess_auc(grouped) == pytest.approx(0.5, abs=0.001)


def guess_auc(table: pd.DataFrame) -> float:
    """AUC of guessing each image's label by the mean label of the same person's images in other folds (the training
    share of positives where there are none)."""
    prior = table["target"].mean()
    of_person = table.groupby("group")["target"].agg(["sum", "size"])
    in_fold = table.groupby(["group", "fold"])["target"].agg(["sum", "size"])
    keys = pd.MultiIndex.from_frame(table[["group", "fold"]])
    others = of_person.loc[table["group"]].to_numpy() - in_fold.loc[keys].to_numpy()
    guess = np.where(others[:, 1] > 0, others[:, 0] / np.maximum(others[:, 1], 1), prior)
    return roc_auc_score(table["target"], guess)


def test_too_few_people_or_images_are_told_before_anything_is_split():
    table = study(8)
    few = table.groupby("group").head(1).reset_index(drop=True)
    with pytest.raises(BadInput, match="n_folds: 5 folds of 2 people outside the holdout; choose 2"):
        make_holdout_folds(few, set(few["patientId"][:6]), 5, 0)
    with pytest.raises(BadInput, match="n_folds: 2 folds of 0 people outside the holdout"):
        make_holdout_folds(few, set(few["patientId"]), 2, 0)
    for count in (3, 6, 10):
        with pytest.raises(BadInput, match=f"split: {count} images are too few for train, val and test"):
            make_report_split(study(30).head(count), 0)
