"""What every stage starts from: folds of their own seed, caches of the sizes that are needed."""

import pytest

from pneumonia import schema
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.system.errors import BadInput


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
