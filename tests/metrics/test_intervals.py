"""Intervals over people, and the classification metrics against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pneumonia.metrics.auc import auc, auc_difference_interval, auc_interval
from pneumonia.metrics.classification import average_precision, average_precision_interval
from pneumonia.metrics.intervals import bootstrap_means, difference_interval, mean_interval, people_of, person_draws


def test_an_image_that_the_mapping_lacks_is_a_person_of_its_own():
    people = people_of(["a", "b", "c", "d", "p"], {"a": "p", "c": "p"})
    assert people.tolist() == [0, 1, 0, 2, 3]  # the image p is not the person p
    assert people_of(["x", "y"], None).tolist() == [0, 1]


def test_draws_equal_a_plain_bootstrap_over_people():
    generator = np.random.default_rng(3)
    scores = np.where(generator.random(60) < 0.3, np.nan, generator.random(60))
    people = generator.integers(0, 20, 60)
    people = np.unique(people, return_inverse=True)[1]
    drawn = bootstrap_means(scores, people, draws=4000, seed=1)
    plain = []
    for _ in range(4000):
        chosen = generator.integers(0, people.max() + 1, people.max() + 1)
        values = np.concatenate([scores[people == person] for person in chosen])
        plain.append(np.nanmean(values))
    assert drawn.mean() == pytest.approx(np.mean(plain), abs=0.005)
    assert drawn.std() == pytest.approx(np.std(plain), rel=0.06)


def test_the_interval_is_that_of_people_not_of_images():
    # twenty people with ten identical images each: as uncertain as twenty numbers
    value = np.random.default_rng(0).random(20)
    scores, people = np.repeat(value, 10), np.repeat(np.arange(20), 10)
    by_person, by_image = mean_interval(scores, people), mean_interval(scores, np.arange(200))
    assert by_person.high - by_person.low > 2.5 * (by_image.high - by_image.low)
    assert by_person.value == pytest.approx(value.mean())
    assert by_person.low < by_person.value < by_person.high


def test_the_same_seed_gives_the_same_interval():
    scores, people = np.random.default_rng(0).random(50), np.arange(50) // 2
    assert mean_interval(scores, people, seed=4) == mean_interval(scores, people, seed=4)
    assert mean_interval(scores, people, seed=4) != mean_interval(scores, people, seed=5)


def test_a_paired_difference_is_narrow_where_the_scores_move_together():
    generator = np.random.default_rng(0)
    scores = generator.random(200)
    difference = difference_interval(scores + 0.01, scores, np.arange(200))
    assert difference.value == pytest.approx(0.01) and difference.high - difference.low < 1e-9


def test_nothing_that_counts_has_no_interval():
    interval = mean_interval(np.array([np.nan, np.nan]), np.array([0, 1]))
    assert all(map(math.isnan, (interval.value, interval.low, interval.high)))
    empty = mean_interval(np.empty(0), np.empty(0, dtype=np.int64))
    assert math.isnan(empty.value)


@pytest.mark.parametrize("seed", range(4))
def test_auc_equals_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    labels = (generator.random(80) < 0.3).astype(int)
    scores = np.round(generator.random(80) + 0.3 * labels, 1)  # ties
    assert auc(labels, scores) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))


def test_auc_without_one_class_is_no_number():
    assert math.isnan(auc(np.ones(3), np.arange(3)))
    assert math.isnan(average_precision(np.zeros(3), np.arange(3)))


def test_the_auc_interval_holds_the_auc():
    generator = np.random.default_rng(0)
    labels = (generator.random(200) < 0.4).astype(int)
    interval = auc_interval(labels, labels + generator.normal(0, 1, 200), np.arange(200) // 3, draws=500)
    assert 0.5 < interval.low < interval.value < interval.high < 1


@pytest.mark.parametrize(
    ("interval_of", "metric"),
    [
        (auc_interval, sklearn_metrics.roc_auc_score),
        (average_precision_interval, sklearn_metrics.average_precision_score),
    ],
)
def test_classification_intervals_are_those_of_people_by_scikit_learn(interval_of, metric):
    """Thirty people with ten identical images each: as uncertain as thirty images. The same draws, one by one."""
    generator = np.random.default_rng(1)
    label = (generator.random(30) < 0.4).astype(int)
    score = np.round(label + generator.normal(0, 1.5, 30), 1)  # ties
    people = np.repeat(np.arange(30), 10)
    labels, scores, shuffled = label[people], score[people], generator.permutation(300)
    found = interval_of(labels[shuffled], scores[shuffled], people[shuffled], draws=300, seed=5)
    weights = np.concatenate(list(person_draws(30, 300, 5)))
    plain = [metric(label, score, sample_weight=weight) for weight in weights]
    assert found.value == pytest.approx(metric(label, score))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])))
    by_image = interval_of(labels, scores, np.arange(300), draws=300, seed=5)
    assert found.high - found.low > 2.5 * (by_image.high - by_image.low)


def test_the_auc_difference_is_that_of_people_by_scikit_learn():
    generator = np.random.default_rng(2)
    labels, people = (generator.random(120) < 0.4).astype(int), generator.permutation(np.arange(120) // 3)
    first, second = (np.round(labels + generator.normal(0, spread, 120), 1) for spread in (1, 2))
    found = auc_difference_interval(labels, first, second, people, draws=300, seed=5)
    of = sklearn_metrics.roc_auc_score
    plain = [
        of(labels, first, sample_weight=weight[people]) - of(labels, second, sample_weight=weight[people])
        for weight in np.concatenate(list(person_draws(40, 300, 5)))
    ]
    assert found.value == pytest.approx(of(labels, first) - of(labels, second))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])))
    same = auc_difference_interval(labels, first, first, people, draws=300)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_without_images_there_is_no_auc_and_no_difference():
    empty = np.empty(0)
    for interval in (
        auc_interval(empty, empty, empty.astype(int)),
        auc_difference_interval(empty, empty, empty, empty.astype(int)),
    ):
        assert np.isnan([interval.value, interval.low, interval.high]).all()
