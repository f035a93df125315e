import cv2
import numpy as np
import pytest

from pneumonia.boxes import geometry
from pneumonia.inference.tta import variant, variants
from pneumonia.system.errors import BadInput

SIZE = 256  # a shift of 4 is one pixel
WHOLE = ["identity", "flip", "shift_16_0", "shift_-8_24", "flip+shift_32_-4", "shift_32_-4+flip", "flip+flip"]
ZOOMED = ["scale_0.5", "scale_0.875", "scale_0.9", "scale_1.125", "scale_2", "flip+scale_0.875", "scale_1.125+flip"]
MIXED = ["flip+scale_0.75+shift_40_-20", "shift_40_-20+scale_0.75+flip", "scale_2+scale_0.5"]
RECTANGLE = (100, 80, 40, 70)  # inside the crop of every variant above


def shown(name: str, box, blur: float = 0.0) -> np.ndarray:
    """The variant of a picture that is black but for one bright rectangle: (SIZE, SIZE)."""
    x, y, width, height = box
    image = np.zeros((SIZE, SIZE), np.float32 if blur else np.uint8)
    image[y : y + height, x : x + width] = 255
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    seen = variant(name).picture(image[None, :, :, None])
    assert seen.shape == (1, SIZE, SIZE, 1) and seen.dtype == image.dtype
    return seen[0, :, :, 0].astype(float)


def bright_rectangle(picture: np.ndarray) -> np.ndarray:
    """(1, 4) x, y, width, height: centre of gravity, and area over height of the profile along each axis."""
    found = []
    for axis in (0, 1):
        profile = picture.sum(axis=axis)
        centre = ((np.arange(SIZE) + 0.5) * profile).sum() / profile.sum()
        width = profile.sum() / profile.max()
        found.append((centre - width / 2, width))
    (x, width), (y, height) = found
    return np.array([[x, y, width, height]])


@pytest.mark.parametrize("name", [*WHOLE, "scale_2+scale_0.5"])
def test_boxes_come_back_to_the_bit_where_nothing_is_interpolated(name):
    seen = shown(name, RECTANGLE)
    assert set(np.unique(seen)) == {0.0, 255.0}
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    found = np.array([[columns[0], rows[0], len(columns), len(rows)]], float)
    assert variant(name).boxes_back(found, SIZE).tolist() == [list(RECTANGLE)]


@pytest.mark.parametrize("name", [*WHOLE, *ZOOMED, *MIXED])
def test_boxes_come_back_within_a_fraction_of_a_pixel(name):
    """Blurred by four pixels, edges are no longer steps that sampling moves by parts of a pixel. Counting from pixel
    centres without the half pixel would be off by 0.06 at 1.125, by a quarter at 0.5 and 2."""
    found = variant(name).boxes_back(bright_rectangle(shown(name, RECTANGLE, blur=4.0)), SIZE)
    np.testing.assert_allclose(found[0], RECTANGLE, atol=0.005)


def test_names_say_where_the_picture_goes():
    """Not only there and back: a bright rectangle lies where the name puts it."""
    expected = {
        "flip": (SIZE - 140, 80, 40, 70),
        "shift_16_-8": (104, 78, 40, 70),
        "scale_0.5": (114, 104, 20, 35),
        "scale_2": (72, 32, 80, 140),
        "scale_0.5+shift_16_0": (118, 104, 20, 35),
        "shift_16_0+scale_0.5": (116, 104, 20, 35),
        "flip+shift_16_0": (SIZE - 140 + 4, 80, 40, 70),
        "shift_16_0+flip": (SIZE - 144, 80, 40, 70),
    }
    for name, box in expected.items():
        np.testing.assert_allclose(bright_rectangle(shown(name, RECTANGLE))[0], box, atol=0.1, err_msg=name)


def test_many_boxes_come_back_through_the_same_map():
    generator = np.random.default_rng(0)
    boxes = generator.uniform(1, 120, (50, 4))
    for name in [*WHOLE, *ZOOMED, *MIXED]:
        factor, offset = variant(name).affine(SIZE)
        corners = geometry.to_corners(boxes).reshape(-1, 2, 2) * factor + offset
        there = geometry.to_xywh(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1))
        np.testing.assert_allclose(variant(name).boxes_back(there, SIZE), boxes, atol=1e-10)
        assert variant(name).boxes_back(np.empty((0, 4)), SIZE).shape == (0, 4)


def test_black_comes_in_from_outside_and_a_crop_keeps_the_middle():
    image = np.full((2, SIZE, SIZE, 1), 200, np.uint8)
    image[1] = 100
    small = variant("scale_0.5").picture(image)
    assert (small[0, 65:191, 65:191] == 200).all() and (small[1, 65:191, 65:191] == 100).all()
    assert small[:, :63].max() == 0 and small[:, :, 193:].max() == 0
    assert (variant("scale_2").picture(image)[0] == 200).all()
    moved = variant("shift_-8_8").picture(image)
    assert moved[:, :2].max() == 0 and moved[:, :, -2:].max() == 0 and (moved[0, 2:, :-2] == 200).all()


def test_one_sampling_loses_nothing_that_only_a_first_step_would_crop():
    corner = (0, 0, 20, 20)
    np.testing.assert_array_equal(shown("scale_2+scale_0.5", corner), shown("identity", corner))
    np.testing.assert_array_equal(shown("shift_-256_0+shift_256_0", corner), shown("identity", corner))


def test_a_shift_is_whole_pixels_of_any_size_and_never_nothing():
    for size, pixels in ((1024, 8), (512, 4), (224, 2), (64, 1), (32, 1)):
        assert variant("shift_8_-8").affine(size)[1].tolist() == [pixels, -pixels]
    assert variant("shift_0_8").affine(64)[1].tolist() == [0, 1]


BAD = "flop flip_scale_0.9 scale_ scale_-1 scale_1e0 scale_x scale_0,9 shift_1 shift_1_2_3 shift_1.5_0 + flip+ Flip"


@pytest.mark.parametrize("name", [*BAD.split(), "", " flip", "scale_\N{ARABIC-INDIC DIGIT ONE}"])
def test_an_unknown_or_malformed_variant_lists_the_known_forms(name):
    with pytest.raises(BadInput, match=r"identity, flip, scale_<factor>, shift_<dx>_<dy>.*'\+'") as raised:
        variants(["identity", name])
    assert f"'{name}'" in str(raised.value)


@pytest.mark.parametrize("name", ["scale_0", "scale_0.49", "scale_2.01", "scale_0.6+scale_0.6", "shift_0_-513"])
def test_what_would_leave_too_little_of_the_picture_is_refused(name):
    with pytest.raises(BadInput, match=r"from 0\.5 to 2|at most 512"):
        variants([name])


def test_no_variant_at_all_is_refused():
    with pytest.raises(BadInput, match="no variant is named"):
        variants([])
