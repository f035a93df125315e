"""Prediction by a network of plain arithmetic, whose outputs under every variant are known."""

import numpy as np
import pytest

from pneumonia import schema
from pneumonia.data.samples import Images
from pneumonia.decoding.decoder import Decoder, ImageBoxes
from pneumonia.inference.predict import predict
from pneumonia.system.errors import BadInput

SIZE, ORIGINAL = 128, 1024
TTA = ["identity", "flip", "shift_16_-32"]  # at 128 px: 2 to the right, 4 up


class Network:
    """Gives its pictures back, and remembers the shape of every pass."""

    def __init__(self):
        self.shapes = []

    def __call__(self, pictures):
        self.shapes.append(pictures.shape)
        return {"pictures": np.array(pictures)}


class Arithmetic(Decoder):
    def __init__(self):
        super().__init__(schema.Model(name="arithmetic"), SIZE)


class BrightRectangle(Arithmetic):
    """The one bright rectangle: centre of gravity, and area over height of the profile along each axis. Its brightness
    is the confidence."""

    kind = "localizer"

    def decode(self, outputs):
        return [self.found(picture[..., 0].astype(np.float64)) for picture in outputs["pictures"]]

    def found(self, picture):
        if not picture.any():
            return ImageBoxes(np.empty((0, 4)), np.empty(0))
        profiles = np.stack([picture.sum(axis=0), picture.sum(axis=1)])
        centre = profiles @ (np.arange(SIZE) + 0.5) / picture.sum()
        extent = profiles.sum(axis=1) / profiles.max(axis=1)
        return ImageBoxes(np.array([[*(centre - extent / 2), *extent]]), np.array([picture.max() / 255]))


class OnePixel(Arithmetic):
    """The brightness of the pixel in row 10, column 20, as one probability or as three."""

    kind = "classifier"

    def __init__(self, three=False):
        super().__init__()
        self.three = three

    def decode(self, outputs):
        value = outputs["pictures"][:, 10, 20].astype(np.float64) / 255
        return np.concatenate([(1 - value) / 4, 3 * (1 - value) / 4, value], axis=1) if self.three else value


class Fixed(Arithmetic):
    """The same boxes whatever the picture shows."""

    kind = "localizer"

    def __init__(self, boxes, scores):
        super().__init__()
        self.answer = ImageBoxes(np.array(boxes, float), np.array(scores, float))

    def decode(self, outputs):
        return [self.answer for _ in outputs["pictures"]]


def noise(count):
    return list(np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE)).astype(np.uint8))


def run(family, images, tta=("identity",), batch_size=4, network=None, side=ORIGINAL, **settings):
    named = Images([str(row) for row in range(len(images))], images, np.full((len(images), 2), side))
    experiment = schema.Experiment(tta=list(tta), batch_size=batch_size, **settings)
    return predict(network or Network(), family, named, experiment, "test")


def rectangles(boxes):
    images = []
    for row, (x, y, width, height) in enumerate(boxes):
        image = np.zeros((SIZE, SIZE), np.uint8)
        image[y : y + height, x : x + width] = 250 - row
        images.append(image)
    return images


BOXES = [(20, 30, 40, 50), (60, 50, 20, 24), (34, 70, 48, 20), (40, 40, 40, 40), (70, 24, 30, 60)]


def test_exact_variants_find_every_box_in_original_pixels_to_the_bit():
    found = run(BrightRectangle(), rectangles(BOXES), ["identity"])
    for variant in ("flip", "shift_16_-32", "flip+shift_16_-32", "scale_0.5", "flip+scale_0.5"):
        other = run(BrightRectangle(), rectangles(BOXES), [variant])
        np.testing.assert_array_equal(other.boxes, found.boxes, err_msg=variant)
    np.testing.assert_array_equal(found.boxes, np.array(BOXES) * 8.0)
    np.testing.assert_array_equal(found.scores, (250 - np.arange(5)) / 255)


@pytest.mark.parametrize("tta", [["scale_0.875"], ["scale_1.125"], ["flip+scale_1.125"], ["identity", "scale_0.9"]])
def test_zoomed_variants_find_the_box_within_a_fraction_of_a_pixel(tta):
    found = run(BrightRectangle(), rectangles(BOXES), tta)
    assert len(found.scores) == len(BOXES)
    np.testing.assert_allclose(found.boxes / 8, BOXES, atol=0.25)


def test_variants_of_one_image_merge_into_one_box():
    found = run(BrightRectangle(), rectangles(BOXES), TTA)
    np.testing.assert_allclose(found.boxes, np.array(BOXES) * 8.0, atol=1e-3)
    np.testing.assert_allclose(found.scores, (250 - np.arange(5)) / 255, atol=1e-6)


def test_a_classifiers_probabilities_are_the_mean_over_the_variants():
    images = noise(7)
    # a picture moved right by 2 and up by 4 shows at (10, 20) what was at (14, 18)
    expected = [np.mean([image[10, 20], image[10, SIZE - 21], image[14, 18]]) / 255 for image in images]
    np.testing.assert_allclose(run(OnePixel(), images, TTA).opacity, expected, rtol=0, atol=1e-12)
    three = run(OnePixel(three=True), images, TTA)
    np.testing.assert_allclose(three.opacity, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(three.normal + three.not_normal + three.opacity, 1.0)
    np.testing.assert_allclose(three.not_normal, 3 * three.normal)


@pytest.mark.parametrize(("images", "variants", "passes"), [(8, 3, 6), (5, 3, 4), (1, 3, 1), (3, 1, 1), (6, 2, 3)])
def test_passes_are_always_full_and_never_more_than_needed(images, variants, passes):
    """Of 5 images in batches of 4 under 3 variants, the last 3 pictures share one pass."""
    network = Network()
    run(OnePixel(), noise(images), TTA[:variants], batch_size=4, network=network)
    assert network.shapes == [(4, SIZE, SIZE, 1)] * passes


def test_an_image_is_predicted_the_same_in_whatever_company():
    images = noise(5)
    together = run(OnePixel(), images, TTA)
    for batch_size in (1, 2, 5, 16):
        np.testing.assert_array_equal(run(OnePixel(), images, TTA, batch_size).opacity, together.opacity)
    np.testing.assert_array_equal(run(OnePixel(), images[::-1], TTA).opacity, together.opacity[::-1])
    boxes = run(BrightRectangle(), rectangles(BOXES), TTA)
    alone = [run(BrightRectangle(), [image], TTA) for image in rectangles(BOXES)]
    np.testing.assert_array_equal(np.concatenate([each.boxes for each in alone]), boxes.boxes)


def test_a_box_beyond_the_frame_is_cut_and_one_outside_is_none():
    """At half size the image spans 32..96: a box of 0..64 reaches from far outside to its middle."""
    family = Fixed([(0, 0, 64, 64), (0, 0, 30, 30), (48, 40, 16, 32)], [0.9, 0.8, 0.7])
    found = run(family, noise(1), ["scale_0.5"], side=SIZE)
    assert found.boxes.tolist() == [[0, 0, 64, 64], [32, 16, 32, 64]]
    assert found.scores.tolist() == [0.9, 0.7]
    zoomed = run(family, noise(1), ["scale_2"], side=SIZE)  # sees the middle: 32..96
    assert zoomed.boxes.tolist() == [[32, 32, 32, 32], [32, 32, 15, 15], [56, 52, 8, 16]]


def test_max_boxes_and_min_score():
    apart = [(x, 0, 10, 10) for x in range(0, 120, 12)]
    family = Fixed(apart, np.arange(1, 11) / 100)
    assert run(family, noise(2)).scores.tolist() == [score / 100 for score in range(10, 0, -1)] * 2
    few = run(family, noise(2), max_boxes=3)
    assert few.scores.tolist() == [0.1, 0.09, 0.08] * 2 and few.counts.tolist() == [3, 3]
    assert few.boxes[0].tolist() == [864, 0, 80, 80]
    assert run(family, noise(1), min_score=0.08).scores.tolist() == [0.1, 0.09, 0.08]
    assert len(run(family, noise(1), min_score=0.5).scores) == 0
    assert len(run(Fixed([(1, 1, 2, 2)] * 60, [0.5] * 60), noise(1)).scores) == 40


def test_the_merged_table_has_no_box_below_the_min_score_either():
    """A box at the left that only one of the two variants confirms has half its confidence."""
    family = Fixed([(4, 40, 20, 20), (54, 90, 20, 20)], [0.3, 0.3])
    assert run(family, noise(1), ["identity", "flip"]).scores == pytest.approx([0.3, 0.15, 0.15])
    assert run(family, noise(1), ["identity", "flip"], min_score=0.2).scores == pytest.approx([0.3])


def test_equal_confidences_keep_their_order():
    family = Fixed([(0, 0, 8, 8), (20, 0, 8, 8), (40, 0, 8, 8)], [0.5, 0.6, 0.5])
    assert run(family, noise(1), side=SIZE, max_boxes=2).boxes[:, 0].tolist() == [20, 0]


def test_an_image_without_boxes_stays_in_the_table():
    images = [np.zeros((SIZE, SIZE), np.uint8), *rectangles(BOXES[:1])]
    assert run(BrightRectangle(), images, TTA).counts.tolist() == [0, 1]


def test_an_unknown_variant_is_refused_before_any_pass():
    network = Network()
    with pytest.raises(BadInput, match="known: identity"):
        run(OnePixel(), noise(2), ["identity", "rotate_5"], network=network)
    assert not network.shapes


@pytest.mark.parametrize("three", [False, True])
def test_many_variants_of_an_image_have_the_same_mean_alone_and_among_others(three):
    tta = [f"shift_{x}_{y}" for x in (-24, -8, 8, 24) for y in (-16, 0, 16)]
    images = noise(9)
    together = run(OnePixel(three), images, tta)
    assert together.opacity.tolist() == [run(OnePixel(three), [image], tta).opacity[0] for image in images]
