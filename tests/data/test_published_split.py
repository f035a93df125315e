"""Published splits: the three forms, what is refused, which part is scored, and MRM's split of the real tables."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from pneumonia import cli
from pneumonia.data.competition import open_competition
from pneumonia.data.folds import describe_split
from pneumonia.data.published_split import published_table, read_split, scored_part
from pneumonia.data.study_table import study_table
from pneumonia.demo import competition as phantom
from pneumonia.system.errors import BadInput

MRM = Path(os.environ.get("RSNA_TABLES", "/nowhere")).parent / "mrm-split"


def write_lists(folder: Path, **lists: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


# ------------------------------------------------------------------ reading


def test_the_three_forms_say_the_same(tmp_path):
    lists = write_lists(
        tmp_path / "lists",
        train_list=["stage_2_train_images/a.dcm 0 ", "stage_2_train_images/b.dcm 1", ""],
        val_list=["c 1"],
        test_list=["stage_2_test_images/d.dcm"],
        train_10=["stage_2_train_images/b.dcm 1"],
        readme=["of somebody"],
    )
    whole = read_split(lists)
    assert whole.parts == {"a": "train", "b": "train", "c": "val", "d": "test"}
    assert whole.targets == {"a": 0, "b": 1, "c": 1}
    assert read_split(lists / "train_list.txt").parts == whole.parts
    assert read_split(lists / "train_10.txt").parts == {"b": "train", "c": "val", "d": "test"}
    table = tmp_path / "split.csv"
    table.write_text("view,patientId,split\nAP,a,train\nAP,b,Training\nPA,c,valid\nPA,d.dcm,test\n")
    assert read_split(table).parts == whole.parts and read_split(table).targets == {}


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"train": ["a 0"], "val": ["a 0"]}, "val.txt:1: a is in val and in train"),
        ({"train": ["a 2", "b c d"], "val": ["c"]}, "train.txt:1: the line is 'a 2'"),
        ({"train": ["a 2", "b c d"], "val": ["c"]}, "train.txt:2: the line is 'b c d'"),
        ({"train": ["a"], "train_list": ["a"], "val": ["c"]}, "are lists of the same part"),
        ({"train": ["a"]}, "has no lists of a split; inside: train.txt"),
        ({"train": [], "val": ["c"]}, "has val images only"),
    ],
)
def test_faulty_lists_are_refused_with_file_and_line(tmp_path, lists, says):
    with pytest.raises(BadInput) as refusal:
        read_split(write_lists(tmp_path / "split", **lists))
    assert says in str(refusal.value)


def test_faulty_tables_are_refused_with_their_row(tmp_path):
    table = tmp_path / "split.csv"
    table.write_text("patientId,split\na,train\nb,other\n,val\n")
    with pytest.raises(BadInput) as refusal:
        read_split(table)
    assert [fault.row for fault in refusal.value.faults] == [3, 4]
    table.write_text("id,split\na,train\n")
    with pytest.raises(BadInput, match="the header is 'id,split'"):
        read_split(table)
    with pytest.raises(BadInput, match="no such file or folder; give split= report"):
        read_split(tmp_path / "reprot")
    (tmp_path / "other.txt").write_text("a 0\n")
    with pytest.raises(BadInput, match="is not named like a training list"):
        read_split(tmp_path / "other.txt")


# ------------------------------------------------------------------ on a competition


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return phantom.generate(tmp_path_factory.mktemp("demo") / "rsna", train_images=30, test_images=4)


@pytest.fixture(scope="module")
def study(folder):
    return study_table(open_competition(folder))


def split_of(study: pd.DataFrame, folder: Path, tmp_path: Path, test_images=()) -> Path:
    rows = [f"{image} {target}" for image, target in zip(study["patientId"], study["target"])]
    test = rows[25:] if not test_images else list(test_images)
    return write_lists(tmp_path / "split", train=rows[:20], val=rows[20:25], test=test)


def test_test_images_with_labels_are_scored_else_val(folder, study, tmp_path):
    competition = open_competition(folder)
    table = published_table(read_split(split_of(study, folder, tmp_path / "a")), competition, study)
    assert table["fold"].value_counts().to_dict() == {"train": 20, "val": 5, "test": 5}
    assert scored_part(table, study) == "test"
    hidden = sorted(competition.test_images)
    table = published_table(read_split(split_of(study, folder, tmp_path / "b", hidden)), competition, study)
    assert table.loc[table["fold"] == "test", "patientId"].tolist() == hidden
    assert scored_part(table, study) == "val"
    facts = describe_split(table, study, has_people=False)
    assert (facts["train"], facts["val"], facts["test"], facts["leaking_people"]) == (20, 5, 4, None)


def test_people_in_two_parts_are_counted(study):
    table = study[["patientId", "group"]].assign(fold="train")
    table.loc[0, ["group", "fold"]] = ["somebody", "val"]
    assert describe_split(table, study, has_people=True)["leaking_people"] == 0
    table.loc[1, "group"] = "somebody"
    facts = describe_split(table, study, has_people=True)
    assert (facts["leaking_people"], facts["leaking_images"]) == (1, 2)


def test_a_split_of_other_images_or_labels_is_refused(folder, study, tmp_path):
    competition = open_competition(folder)
    other = read_split(write_lists(tmp_path / "other", train=["a", "b"], val=["c"]))
    with pytest.raises(BadInput, match="has no training images among the 30 of "):
        published_table(other, competition, study)
    first = study["patientId"][0].upper()
    with pytest.raises(BadInput, match="differ in capital letters"):
        published_table(read_split(write_lists(tmp_path / "upper", train=[first], val=["c"])), competition, study)
    wrong = [f"{image} {1 - target}" for image, target in zip(study["patientId"], study["target"])]
    with pytest.raises(BadInput, match=f"2 labels are not those of .*; the first is of {study['patientId'][0]}"):
        published_table(
            read_split(write_lists(tmp_path / "wrong", train=wrong[:1], val=wrong[1:2])), competition, study
        )


def folds(capsys, data, *words) -> tuple[int, dict, str, str]:
    code = cli.main(["folds", f"data={data}", "json=true", *words])
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.out, captured.err


def test_the_command_writes_and_audits_it(folder, study, tmp_path, capsys):
    lists = split_of(study, folder, tmp_path, sorted(open_competition(folder).test_images))
    code, result, _, said = folds(capsys, folder, f"split={lists}", f"out={tmp_path / 'folds.csv'}")
    assert code == 0, said
    assert {row["fold"]: (row["images"], row["positives"]) for row in result["folds"]}["test"] == (4, None)
    code, audit, _, said = folds(capsys, folder, f"audit={lists}")
    assert code == 0 and audit["leaking_people"] == result["leaking_people"], said
    code, again, _, _ = folds(capsys, folder, f"audit={result['file']}")
    assert code == 0 and again["leaking_people"] == result["leaking_people"]
    (tmp_path / "ids.txt").write_text(f"{study['patientId'][0]}\n")
    code, _, _, said = folds(capsys, folder, f"split={lists}", f"holdout={tmp_path / 'ids.txt'}")
    assert code == 2 and "holdout: has no effect beside split=" in said


@pytest.mark.skipif(not MRM.is_dir(), reason="no RSNA_TABLES, or no published split beside them")
def test_mrm_s_split_of_the_real_tables(tmp_path, capsys):
    tables = Path(os.environ["RSNA_TABLES"])
    words = (f"mapping={tables / 'rsna_nih_mapping.csv'}", f"headers={tables / 'stage_2_train_dicom_headers.csv.gz'}")
    code, result, _, said = folds(capsys, tables, *words, f"split={MRM}", f"out={tmp_path / 'folds.csv'}")
    assert code == 0, said
    counts = {row["fold"]: (row["images"], row["positives"]) for row in result["folds"]}
    assert counts == {"train": (25_184, 5_789), "val": (1_500, 223), "test": (3_000, None)}
    assert (result["leaking_people"], result["leaking_images"]) == (883, 6_526)
    code, audit, _, said = folds(capsys, tables, words[0], f"audit={MRM}")
    assert code == 0 and (audit["leaking_people"], audit["images"]) == (883, 26_684)
    assert "not known of 3000 images of the test set" in said
    for name, images in (("train_1", 251), ("train_10", 2_518)):
        split = read_split(MRM / f"{name}.txt")
        assert pd.Series(split.parts).value_counts().to_dict() == {"test": 3_000, "val": 1_500, "train": images}
