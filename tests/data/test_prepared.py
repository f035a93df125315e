"""What every stage starts from: folds of their own seed, caches of the sizes that are needed."""

from pneumonia import schema
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare


def prepared(image_sizes=(64,), **settings):
    job = schema.Job(data="demo", preset="smoke", **settings)
    return prepare(job, resolve(job), image_sizes)


def test_seeds_of_training_share_folds_and_other_folds_are_another_dataset():
    one, other_training, other_folds = prepared(), prepared(seed=1), prepared(folds_seed=1)
    assert one.dataset == other_training.dataset and one.fold_file == other_training.fold_file
    assert one.dataset != other_folds.dataset and not one.folds["fold"].equals(other_folds.folds["fold"])


def test_each_size_has_its_cache_and_the_largest_is_handed_on():
    data = prepared([64, 300, 224])
    assert data.cache.size == 512 and data.cache.folder.name.endswith("-512")
    assert data.cache.folder.with_name(data.cache.folder.name.replace("-512", "-256")).is_dir()
