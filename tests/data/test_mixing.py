"""Images made of several: every box stays on its finding."""

import numpy as np
import pytest

from pneumonia.data.mixing import mixup, mosaic

SIZE = 64
NONE = np.empty((0, 4))


def bright(box: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE) with a bright rectangle in the box, whose sides are even numbers."""
    image = np.full((SIZE, SIZE), 40, np.uint8)
    x, y, width, height = box.astype(int)
    image[y : y + height, x : x + width] = 240
    return image


def random_parts(rng: np.random.Generator, count: int):
    boxes = [2 * np.array([[*rng.integers(0, 16, 2), *rng.integers(4, 16, 2)]], dtype=float) for _ in range(count)]
    return [bright(own[0]) for own in boxes], boxes


@pytest.mark.parametrize("seed", range(10))
def test_a_mosaic_s_boxes_are_its_bright_pixels(seed):
    images, boxes = random_parts(np.random.default_rng(seed), 4)
    image, found = mosaic(images, boxes)
    assert image.shape == (SIZE, SIZE) and image.dtype == np.uint8 and found.shape == (4, 4)
    drawn = np.full((SIZE, SIZE), 40, np.uint8)
    for x, y, width, height in found.astype(int):
        drawn[y : y + height, x : x + width] = 240
    np.testing.assert_array_equal(image, drawn)
    np.testing.assert_allclose(found[:, 2:], np.concatenate(boxes)[:, 2:] / 2)


@pytest.mark.parametrize("seed", range(10))
def test_a_mixture_is_the_mean_and_has_the_boxes_of_both(seed):
    images, boxes = random_parts(np.random.default_rng(seed), 2)
    image, found = mixup(images, boxes)
    np.testing.assert_array_equal(image, (images[0].astype(int) + images[1]) // 2)
    np.testing.assert_array_equal(found, np.concatenate(boxes))


def test_images_without_boxes_give_none_and_a_black_image_stays_black():
    black = [np.zeros((SIZE, SIZE), np.uint8)] * 4
    for mix, count in ((mosaic, 4), (mixup, 2)):
        image, found = mix(black[:count], [NONE] * count)
        assert not image.any() and found.shape == (0, 4)
    _, found = mosaic(black, [NONE, np.array([[10.0, 20, 30, 40]]), NONE, NONE])
    np.testing.assert_array_equal(found, [[5 + SIZE / 2, 10, 15, 20]])
