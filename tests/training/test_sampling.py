import math

import numpy as np
import pytest

from pneumonia.schema import Sampling
from pneumonia.system.errors import BadInput
from pneumonia.training.sampling import epoch_order

POSITIVE = np.arange(100) < 20


def test_an_epoch_shows_every_image_once_and_is_a_function_of_seed_and_epoch():
    order = epoch_order(POSITIVE, Sampling(), 10, seed=1, epoch=2)
    assert sorted(order) == list(range(100))
    assert order.tolist() == epoch_order(POSITIVE, Sampling(), 10, seed=1, epoch=2).tolist()
    assert order.tolist() != epoch_order(POSITIVE, Sampling(), 10, seed=1, epoch=3).tolist()
    assert order.tolist() != epoch_order(POSITIVE, Sampling(), 10, seed=2, epoch=2).tolist()


@pytest.mark.parametrize(("share", "of_batch"), [(0.5, 4), (1.0, 8), (0.25, 2)])
def test_every_batch_holds_its_share_of_positives(share, of_batch):
    order = epoch_order(POSITIVE, Sampling(positives=share), 8, seed=0, epoch=0)
    assert (POSITIVE[order].reshape(-1, 8).sum(axis=1) == of_batch).all()


@pytest.mark.parametrize(("share", "batch_size"), [(0.5, 1), (0.1, 4), (0.01, 8), (0.3, 10), (0.9, 3)])
def test_batches_take_turns_where_the_share_is_no_whole_number(share, batch_size):
    order = epoch_order(POSITIVE, Sampling(positives=share, images=200), batch_size, seed=0, epoch=0)
    counts = POSITIVE[order].reshape(-1, batch_size).sum(axis=1)
    assert counts.sum() == math.ceil(round(share * len(order), 6)) and np.ptp(counts) <= 1
    hardness = np.where(np.arange(100) == 50, 1.0, 0.0)
    sampling = Sampling(positives=share, images=200, hard_negatives=0.1)
    order = epoch_order(POSITIVE, sampling, batch_size, seed=0, epoch=0, hardness=hardness)
    assert POSITIVE[order].reshape(-1, batch_size).sum(axis=1).tolist() == counts.tolist()
    hard = math.ceil(round(0.1 * (len(order) - counts.sum()), 6))
    assert hard <= (order == 50).sum() <= hard + math.ceil(len(order) / 80)


def test_a_data_set_smaller_than_a_batch_still_fills_one():
    assert len(epoch_order(POSITIVE[:5], Sampling(), 8, seed=0, epoch=0)) == 8


def test_no_positives_at_all_is_no_reason_to_stop():
    assert len(epoch_order(np.zeros(16, bool), Sampling(positives=0.5), 8, seed=0, epoch=0)) == 16


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_first_epochs_may_have_positives_only(share):
    """The others are as they would be without, and all have the same number of steps."""
    sampling, plain = Sampling(positives=share, positive_epochs=2), Sampling(positives=share)
    orders = [epoch_order(POSITIVE, sampling, 8, seed=3, epoch=epoch) for epoch in range(4)]
    assert [POSITIVE[order].all() for order in orders] == [True, True, share == 1, share == 1]
    assert {len(order) for order in orders} == {96}
    for epoch in (2, 3):
        assert orders[epoch].tolist() == epoch_order(POSITIVE, plain, 8, seed=3, epoch=epoch).tolist()
    assert orders[0].tolist() != orders[1].tolist()


def test_hard_places_go_to_hard_negatives_and_shares_stay_what_they_were():
    """One negative image has nearly all the hardness. The most sure image of all is positive: it is no negative."""
    hardness = np.full(100, 1e-6)
    hardness[42], hardness[3] = 0.9, 1.0
    sampling = Sampling(positives=0.25, hard_negatives=0.5)
    order = epoch_order(POSITIVE, sampling, 8, seed=0, epoch=0, hardness=hardness).reshape(-1, 8)
    assert len(order) == 12 and (POSITIVE[order].sum(axis=1) == 2).all()
    assert ((order == 42).sum(axis=1) >= 3).all()  # of six negatives of a batch three are hard
    assert (order == 42).sum() <= 3 * 12 + 1  # and among the other three it is one of eighty
    again = epoch_order(POSITIVE, sampling, 8, seed=0, epoch=0, hardness=hardness)
    assert again.tolist() == order.ravel().tolist()


def test_hard_negatives_come_in_proportion_to_their_hardness():
    """Two thirds and one third of 400 hard places; an image of no hardness is in none of them."""
    hardness = np.zeros(100)
    hardness[50], hardness[60] = 0.6, 0.3
    sampling = Sampling(positives=0.5, images=800, hard_negatives=1.0)
    order = epoch_order(POSITIVE, sampling, 8, seed=1, epoch=0, hardness=hardness)
    assert set(order[~POSITIVE[order]]) == {50, 60}
    assert (order == 50).sum() == pytest.approx(400 * 2 / 3, abs=40)


def test_where_nothing_is_hard_every_negative_has_the_same_chance():
    sampling = Sampling(positives=0.5, images=1600, hard_negatives=1.0)
    order = epoch_order(POSITIVE, sampling, 8, seed=1, epoch=0, hardness=np.zeros(100))
    counts = np.bincount(order, minlength=100)
    assert counts[20:].sum() == 800 and counts[20:].min() > 0 and counts[20:].max() < 30


@pytest.mark.parametrize(("positives", "hardness"), [(0.5, None), (0.0, np.ones(100)), (1.0, np.ones(100))])
def test_hard_negatives_without_hardness_or_room_are_refused(positives, hardness):
    with pytest.raises(BadInput, match=r"sampling\.hard_negatives: needs batches of positives and negatives"):
        epoch_order(POSITIVE, Sampling(positives=positives, hard_negatives=0.5), 8, 0, 0, hardness)
