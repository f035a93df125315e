"""Batches: a pure function of (seed, epoch, index), labels beside their own images, nothing left when they end."""

import gc
import threading
import weakref

import cv2
import keras
import numpy as np
import pytest
from spots import SpotClassifier

from pneumonia import schema
from pneumonia.data.person_features import N_PERSON_FEATURES
from pneumonia.data.samples import Samples
from pneumonia.models.box_regressor import BoxRegressor
from pneumonia.training.batches import Batches
from pneumonia.training.loading import AHEAD, BatchLoader

SIZE, COUNT, BATCH = 32, 22, 4
ALWAYS = [{"flip": 1.0}]


def numbered_samples() -> Samples:
    """Image k is noise with k in its last column; every other one has a box; fact j of image k is 10 k + j."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, SIZE, SIZE), dtype=np.uint8)
    images[:, :, -1] = np.arange(COUNT)[:, None]
    boxes = [np.array([[2.0 + k % 8, 5, 9, 12]]) if k % 2 else np.empty((0, 4)) for k in range(COUNT)]
    person_features = (10 * np.arange(COUNT)[:, None] + np.arange(N_PERSON_FEATURES)).astype(np.float32)
    return Samples(
        np.array([f"id-{k}" for k in range(COUNT)]), images, boxes, np.arange(COUNT) % 2 * 2, person_features
    )


def batches(augment="strong", seed=(7, 0), order=None, samples=None, family=None, **mixing) -> Batches:
    order = np.random.default_rng(1).permutation(COUNT) if order is None else np.asarray(order)
    family = family or BoxRegressor(schema.model_settings(name="box_regressor"), SIZE)
    return Batches(samples or numbered_samples(), order, BATCH, family, augment, list(seed), **mixing)


def assert_same(one, other) -> None:
    """Two items (inputs, targets) are equal bit for bit."""
    assert np.array_equal(one[0], other[0]) and one[1].keys() == other[1].keys()
    assert all(np.array_equal(one[1][name], other[1][name]) for name in one[1])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_number_of_loaders_gives_the_same_images_and_targets(threads):
    alone = batches()
    with BatchLoader(batches(), threads) as loaded:
        for index in range(len(alone)):
            assert_same(alone[index], loaded[index])


def test_an_item_depends_on_nothing_that_was_asked_before():
    forward, backward = batches(), batches()
    made = [forward[index] for index in range(len(forward))]
    for index in reversed(range(len(backward))):
        assert_same(made[index], backward[index])


def test_seed_epoch_and_place_in_the_epoch_each_change_the_augmentation():
    same = [3] * (2 * BATCH)  # the same image at every place
    first = batches(order=same)
    images = [*first[0][0], *first[1][0]]
    assert len({image.tobytes() for image in images}) == len(images)
    for other in ((7, 1), (8, 0)):
        assert not np.array_equal(batches(order=same, seed=other)[0][0], first[0][0])


def test_the_last_batch_is_what_remains_and_ids_name_each():
    made = batches("none", order=range(COUNT))
    assert len(made) == 6 and [len(made[index][0]) for index in range(6)] == [4, 4, 4, 4, 4, 2]
    assert [id for index in range(6) for id in made.ids(index)] == [f"id-{k}" for k in range(COUNT)]
    images, targets = made[5]
    assert images.shape == (2, SIZE, SIZE, 1) and images.dtype == np.uint8
    assert targets["box"].shape == (2, 4) and images[:, 0, -1, 0].tolist() == [20, 21]


def test_boxes_and_facts_stay_beside_their_images():
    samples, order = numbered_samples(), np.random.default_rng(2).permutation(COUNT)
    for index in range(6):
        images, targets = batches(ALWAYS, order=order)[index]
        for image, box, row in zip(images[..., 0], targets["box"], order[index * BATCH :]):
            assert np.array_equal(image, samples.images[row][:, ::-1])
            x, y, width, height = samples.boxes[row][0] if row % 2 else (SIZE, 0, 0, 0)
            np.testing.assert_allclose(box * SIZE, [SIZE - x - width, y, width, height], atol=1e-4)
    family = SpotClassifier(schema.Model(), SIZE)
    family.person_inputs = ("view", "age")
    inputs, targets = batches("none", order=order, family=family)[1]
    rows = order[BATCH : 2 * BATCH]
    assert inputs["gray"][:, 0, -1, 0].tolist() == rows.tolist()
    assert np.array_equal(inputs["person"], samples.person_features[rows][:, [4, 5, 0, 1]])
    assert np.array_equal(targets["opacity"][:, 0], rows % 2)


MIXING = [{"mosaic": 1.0}, {"mixup": 1.0}, {"mosaic": 0.4, "mixup": 0.4}]


@pytest.mark.parametrize("mixing", MIXING)
def test_mixed_images_depend_on_seed_epoch_and_place_only(mixing):
    forward, backward = batches(**mixing), batches(**mixing)
    made = [forward[index] for index in range(len(forward))]
    for index in reversed(range(len(backward))):
        assert_same(made[index], backward[index])
    with BatchLoader(batches(**mixing), 3) as loaded:
        for index in range(len(loaded)):
            assert_same(made[index], loaded[index])
    assert not np.array_equal(made[0][0], batches(seed=(7, 1), **mixing)[0][0])


class Plain(SpotClassifier):
    """Its targets are the boxes and the classes as they come."""

    def targets(self, boxes, classes):
        padded = np.zeros((len(boxes), 4, 4))
        for row, own in enumerate(boxes):
            padded[row, : len(own)] = own
        return {"boxes": padded, "count": np.array([len(own) for own in boxes]), "class": classes}


def parts_of(image: np.ndarray, samples: Samples) -> list[int]:
    """Rows of the samples whose half-size copies are the quarters of an image."""
    half = SIZE // 2
    small = {
        cv2.resize(each, (half, half), interpolation=cv2.INTER_AREA).tobytes(): k
        for k, each in enumerate(samples.images)
    }
    quarters = [image[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
    return [small[np.ascontiguousarray(quarter).tobytes()] for quarter in quarters]


def test_a_mosaic_has_its_own_image_first_and_everybody_s_boxes_and_the_highest_class():
    samples = numbered_samples()
    made = batches("none", order=range(COUNT), samples=samples, family=Plain(schema.Model(), SIZE), mosaic=1.0)
    others = set()
    for index in range(len(made)):
        images, targets = made[index]
        for place, image in enumerate(images[..., 0]):
            rows = parts_of(image, samples)
            assert rows[0] == index * BATCH + place
            others |= set(rows[1:])
            assert targets["class"][place] == samples.classes[rows].max()
            assert targets["count"][place] == sum(len(samples.boxes[row]) for row in rows)
            moves = np.array([[0, 0], [SIZE / 2, 0], [0, SIZE / 2], [SIZE / 2, SIZE / 2]])
            wanted = [samples.boxes[row][0, :2] / 2 + move for row, move in zip(rows, moves) if len(samples.boxes[row])]
            np.testing.assert_allclose(targets["boxes"][place, : len(wanted), :2], np.reshape(wanted, (-1, 2)))
    assert len(others) > COUNT // 2


def test_each_kind_of_mixture_has_its_share():
    made = batches("none", order=np.arange(COUNT).repeat(40), family=Plain(schema.Model(), SIZE), mosaic=0.3, mixup=0.5)
    others = np.array([len(made.others(position)) for position in range(len(made.order))])
    assert np.mean(others == 3) == pytest.approx(0.3, abs=0.05)
    assert np.mean(others[others != 3] == 1) == pytest.approx(0.5, abs=0.06)
    assert set(others) == {0, 1, 3}


@pytest.mark.parametrize("augment", ["none", "strong"])
def test_without_a_share_nothing_is_mixed(augment):
    plain, off, little = batches(augment), batches(augment, mosaic=0.0, mixup=0.0), batches(augment, mosaic=1e-9)
    for index in range(len(plain)):
        assert_same(plain[index], off[index])
        assert_same(plain[index], little[index])


class Unreadable:
    """Images of which one cannot be read."""

    def __init__(self, images, bad):
        self.images, self.bad = images, bad

    def __getitem__(self, row):
        if row == self.bad:
            raise OSError(f"image {row} cannot be read")
        return self.images[row]


def test_an_image_that_cannot_be_read_stops_keras_and_the_threads():
    good = numbered_samples()
    samples = Samples(good.ids, Unreadable(good.images, bad=13), good.boxes, good.classes)
    inputs = keras.Input((SIZE, SIZE, 1))
    network = keras.Model(inputs, {"opacity": keras.layers.Dense(1)(keras.layers.Flatten()(inputs))})
    network.compile("sgd", {"opacity": "mse"})
    made = batches(order=range(COUNT), samples=samples, family=SpotClassifier(schema.Model(), SIZE))
    with pytest.raises(OSError, match="image 13"), BatchLoader(made, 3) as loaded:
        loaded[3]
    # through fit TensorFlow hands on the text, in an error of its own; JAX the error itself
    with pytest.raises(Exception, match="image 13 cannot be read"), BatchLoader(made, 3) as loaded:
        network.fit(loaded.for_fit(), shuffle=False, verbose=0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_no_batch_outlives_its_epoch():
    """Held at once: those ahead, the one in use and the one before it; afterwards none."""
    alive, most = weakref.WeakValueDictionary(), 0

    class Watched(Batches):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            alive[self.seed[1], index] = item[0]
            return item

    for epoch in range(3):
        plain = batches("none", (7, epoch), order=np.arange(COUNT).repeat(5))
        watched = Watched(plain.samples, plain.order, BATCH, plain.family, "none", plain.seed)
        with BatchLoader(watched, 2) as loaded:
            for index in range(len(loaded)):
                loaded[index]
                most = max(most, len(alive))
        gc.collect()
        assert len(alive) == 0
    assert 0 < most <= 2 * AHEAD + 2
