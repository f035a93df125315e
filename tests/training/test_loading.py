"""Batches made ahead: the same ones, in order, from threads that end."""

import threading

import keras
import numpy as np
import pytest

from pneumonia.training.loading import AHEAD, BatchLoader


class Numbers(keras.utils.PyDataset):
    """Batch k is full of k; the number of batches made and not yet asked for is kept."""

    def __init__(self, count=12, bad=None):
        super().__init__()
        self.count, self.bad, self.made = count, bad, 0
        self.lock = threading.Lock()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.bad:
            raise OSError(f"batch {index} cannot be read")
        with self.lock:
            self.made += 1
        return np.full((2, 3), index, np.float32), np.zeros((2, 1), np.float32)


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_every_number_of_threads_gives_the_same_batches(threads):
    with BatchLoader(Numbers(), threads) as loaded:
        assert [float(loaded[index][0][0, 0]) for index in range(len(loaded))] == list(range(12))
    assert loader_threads() == []


def test_no_more_is_made_ahead_than_was_said():
    numbers = Numbers(count=100)
    with BatchLoader(numbers, 2) as loaded:
        for index in range(10):
            loaded[index]
    assert numbers.made <= 10 + 2 * AHEAD
    assert len(loaded.futures) == 0


def test_asking_again_for_the_first_batches_makes_them_once():
    numbers = Numbers()
    with BatchLoader(numbers, 1) as loaded:
        for index in (0, 1, *range(12)):
            loaded[index]
    assert numbers.made == 12


def test_what_goes_wrong_reaches_the_caller_and_the_threads_end():
    with pytest.raises(OSError, match="batch 5"), BatchLoader(Numbers(bad=5), 2) as loaded:
        for index in range(12):
            loaded[index]
    assert loader_threads() == []


def test_keras_hands_on_what_went_wrong_as_it_was():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    with pytest.raises(OSError, match="batch 5"), BatchLoader(Numbers(bad=5), 2) as loaded:
        network.fit(loaded.for_fit(), shuffle=False, verbose=0)


def test_keras_trains_on_them():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    with BatchLoader(Numbers(), 2) as loaded:
        history = network.fit(loaded.for_fit(), shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("count", [1, 12])
def test_tensorflow_s_pipeline_has_the_same_batches_and_nothing_to_tune(count):
    """Its autotuning would round every epoch's time up to the end of a period."""
    with BatchLoader(Numbers(count), 2) as loaded:
        pipeline = loaded.for_fit()
        assert not pipeline.options().autotune.enabled
        assert int(pipeline.cardinality()) == count
        for _ in range(2):
            assert [float(images[0, 0]) for images, _ in pipeline.as_numpy_iterator()] == list(range(count))
    assert loader_threads() == []
