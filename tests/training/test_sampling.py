import numpy as np
import pytest

from pneumonia.schema import Sampling
from pneumonia.training.sampling import epoch_order

POSITIVE = np.arange(100) < 20


def test_an_epoch_shows_every_image_once_and_is_a_function_of_seed_and_epoch():
    order = epoch_order(POSITIVE, Sampling(), 10, seed=1, epoch=2)
    assert sorted(order) == list(range(100))
    assert order.tolist() == epoch_order(POSITIVE, Sampling(), 10, seed=1, epoch=2).tolist()
    assert order.tolist() != epoch_order(POSITIVE, Sampling(), 10, seed=1, epoch=3).tolist()
    assert order.tolist() != epoch_order(POSITIVE, Sampling(), 10, seed=2, epoch=2).tolist()


@pytest.mark.parametrize(("share", "of_batch"), [(0.5, 4), (1.0, 8), (0.01, 1)])
def test_every_batch_holds_its_share_of_positives(share, of_batch):
    order = epoch_order(POSITIVE, Sampling(positives=share), 8, seed=0, epoch=0)
    assert (POSITIVE[order].reshape(-1, 8).sum(axis=1) == of_batch).all()


def test_a_data_set_smaller_than_a_batch_still_fills_one():
    assert len(epoch_order(POSITIVE[:5], Sampling(), 8, seed=0, epoch=0)) == 8


def test_no_positives_at_all_is_no_reason_to_stop():
    assert len(epoch_order(np.zeros(16, bool), Sampling(positives=0.5), 8, seed=0, epoch=0)) == 16
