"""What every stage starts from: folds of their own seed, caches of the sizes that are needed."""

import numpy as np
import pandas as pd
import pytest

from pneumonia import schema
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare, read_prepared, read_study, write_study
from pneumonia.system.errors import BadInput, EnvironmentFailure


def prepared(image_sizes=(64,), **settings):
    job = schema.Job(data="demo", preset="smoke", **settings)
    return prepare(job, resolve(job), image_sizes)


def test_seeds_of_training_share_folds_and_other_folds_are_another_dataset():
    one, other_training, other_folds = prepared(), prepared(seed=1), prepared(folds_seed=1)
    assert one.dataset == other_training.dataset and one.fold_file == other_training.fold_file
    assert one.dataset != other_folds.dataset and not one.folds["fold"].equals(other_folds.folds["fold"])


def test_a_holdout_is_set_apart_with_its_people(tmp_path):
    study = prepared().study
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(study["patientId"][:5]))
    data = prepared(holdout=str(file))
    fold = data.folds.set_index("patientId")["fold"].astype(str)
    assert (fold[study["patientId"][:5]] == "holdout").all() and (fold == "holdout").sum() == 5
    people = study.loc[:4, "group"]
    others = study[study["group"].isin(people)]["patientId"]
    assert set(fold[others]) <= {"holdout", "removed"}
    file.write_text("nobody")
    with pytest.raises(BadInput, match="not in the label table, the first is nobody"):
        prepared(holdout=str(file))


def test_each_size_has_its_cache_and_the_largest_is_handed_on():
    data = prepared([64, 300, 224])
    assert data.cache.size == 512 and data.cache.folder.name.endswith("-512")
    assert data.cache.folder.with_name(data.cache.folder.name.replace("-512", "-256")).is_dir()


def test_a_run_reads_what_was_prepared_to_the_last_bit(tmp_path):
    whole = prepared((64, 300))
    files = whole.files(64)
    read = read_prepared(files)
    assert read.identity == whole.identity and read.dataset == whole.dataset and read.mapping == whole.mapping
    assert read.cache.size == 256 and whole.cache.size == 512
    pd.testing.assert_frame_equal(read.study.drop(columns="boxes"), whole.study.drop(columns="boxes"))
    for one, other in zip(read.study["boxes"], whole.study["boxes"]):
        assert one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    assert read.folds["fold"].tolist() == whole.folds["fold"].astype(str).tolist()
    changed = tmp_path / "study.csv"
    changed.write_text("another")
    with pytest.raises(
        EnvironmentFailure, match="has changed since it was written; repeat the command that started the run"
    ):
        read_prepared(files | {"study": str(changed)})
    with pytest.raises(EnvironmentFailure, match="No such file"):
        read_prepared(files | {"folds": str(tmp_path / "gone.csv")})


def test_texts_of_the_study_table_that_look_like_other_things(tmp_path):
    boxes = pd.Series([np.array([[0.1, 1 / 3, 2e-9, 1e16]]), np.empty((0, 4))], dtype=object)
    study = pd.DataFrame({"patientId": ["1e5", "007"], "target": [1, 0], "class": ["opacity", "normal"]})
    study = study.assign(group=["NA", "nan"], sex=["M", None], age=[np.nan, 45.1], view=["NA", None], boxes=boxes)
    read = read_study(write_study(study, tmp_path))
    for column in ("patientId", "target", "class", "group"):
        assert read[column].tolist() == study[column].tolist()
    assert read["sex"][0] == "M" and read["view"][0] == "NA" and read[["sex", "view"]].isna().to_numpy()[1].all()
    assert np.isnan(read["age"][0]) and read["age"][1] == 45.1
    assert all(np.array_equal(one, other) for one, other in zip(read["boxes"], boxes))
