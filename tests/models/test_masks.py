"""Boxes to masks, the losses of masks, and masks back to boxes."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.decoding import masks
from pneumonia.models import mask_losses
from pneumonia.schema.relations import check_network
from pneumonia.system.errors import BadInput

SETTINGS = {"image_size": 256, "threshold": 0.5, "min_area": 0.001}
APART = np.array([[20.0, 30, 50, 90], [150.3, 41.7, 60.9, 100.2]])
TOUCHING = np.array([[20.0, 30, 80, 90], [100.0, 60, 70, 120]])  # one staircase where nothing falls off at the edges
ALIGNED = np.array([[20.0, 30, 80, 90], [100.0, 30, 80, 90]])  # together one rectangle


def assert_boxes(found, wanted, least_iou):
    assert len(found.boxes) == len(wanted)
    assert (geometry.iou_matrix(found.boxes, wanted).max(axis=0) > least_iou).all()


# ------------------------------------------------------------------ targets


def test_a_filled_mask_has_the_boxes_area_wherever_its_edges_lie():
    mask = masks.rasterize(APART, 256, 128)
    assert mask.sum() * 4 == pytest.approx((APART[:, 2] * APART[:, 3]).sum(), rel=1e-5)
    assert set(np.unique(masks.rasterize(APART[:1], 256, 128))) == {0.0, 1.0}
    assert not masks.rasterize(np.empty((0, 4)), 256, 128).any()


def test_a_softened_mask_falls_from_one_to_its_edge_value_over_the_share_asked_for():
    box = np.array([[56.0, 56, 144, 144]])
    mask = masks.rasterize(box, 256, 256, softness=0.5)
    line = mask[128]
    assert not line[:56].any() and not line[200:].any()
    np.testing.assert_array_equal(line[92:164], 1.0)  # the inner half
    assert (np.diff(line[56:92]) > 0).all()
    assert line[56] == pytest.approx(masks.EDGE, abs=0.01)
    np.testing.assert_allclose(mask, mask.T, atol=1e-6)


def test_a_softened_mask_has_a_valley_where_boxes_touch():
    line = masks.rasterize(ALIGNED, 256, 256, softness=0.3)[75]
    assert line[99:101].max() < 0.8 < min(line[60], line[140])


# ------------------------------------------------------------------ masks to boxes


@pytest.mark.parametrize("softness", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("blur", [0.0, 1.5])
def test_edges_lie_between_pixels(softness, blur):
    """A network's mask is blurred and at half the image's size, and its boxes are exact nevertheless."""
    mask = gaussian_filter(masks.rasterize(APART, 256, 128, softness), blur)
    assert_boxes(masks.components(0.95 * mask, softness=softness, **SETTINGS), APART, 0.96)


def test_a_pixel_that_sticks_out_moves_no_edge():
    mask = masks.rasterize(APART[:1], 256, 128)
    mask[30, 35:50] = 1.0
    mask[5:15, 20] = 1.0
    assert_boxes(masks.components(mask, **SETTINGS), APART[:1], 0.96)


def test_touching_boxes_come_apart_where_the_target_falls_off():
    for boxes in (TOUCHING, ALIGNED):
        whole = masks.components(masks.rasterize(boxes, 256, 128), **SETTINGS)
        assert len(whole.boxes) == 1
        mask = gaussian_filter(masks.rasterize(boxes, 256, 128, softness=0.3), 1.0)
        assert_boxes(masks.components(mask, softness=0.3, **SETTINGS), boxes, 0.85)


def test_a_bridge_between_two_findings_does_not_make_them_one():
    mask = masks.rasterize(APART, 256, 128)
    mask[40:44, 30:80] = np.maximum(mask[40:44, 30:80], 0.6)
    assert_boxes(masks.components(mask, **SETTINGS), APART, 0.9)


def test_a_dip_inside_of_a_rectangle_does_not_make_it_two():
    mask = 0.9 * masks.rasterize(APART[:1], 256, 128)
    mask[36:40] *= 0.85
    assert_boxes(masks.components(gaussian_filter(mask, 1.5), **SETTINGS), APART[:1], 0.95)


def test_confidence_is_the_mean_probability_and_orders_the_boxes():
    mask = 0.9 * masks.rasterize(APART[:1], 256, 128) + 0.7 * masks.rasterize(APART[1:], 256, 128)
    found = masks.components(mask, **SETTINGS)
    likelier, other = np.argsort(-found.scores)
    assert found.scores[likelier] == pytest.approx(0.9, abs=0.02)
    assert found.scores[other] == pytest.approx(0.7, abs=0.02)
    assert geometry.iou_matrix(found.boxes[[likelier]], APART[:1])[0, 0] > 0.9


def test_an_unsure_mask_still_offers_its_best_candidate():
    mask = 0.2 * masks.rasterize(APART[:1], 256, 128) + 0.01
    found = masks.components(mask, **SETTINGS)
    assert_boxes(found, APART[:1], 0.9)
    assert found.scores[0] == pytest.approx(0.21, abs=0.02)


def test_what_is_small_is_dropped_and_nothing_leaves_the_image():
    specks = masks.rasterize(np.array([[10.0, 10, 6, 6]]), 256, 128)
    assert len(masks.components(specks, **SETTINGS).boxes) == 0
    for mask in (np.full((64, 64), 0.3), masks.rasterize(np.array([[0.0, 0, 60, 256]]), 256, 64)):
        boxes = masks.components(mask, **SETTINGS).boxes
        assert len(boxes) == 1
        assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 256).all() and boxes[0, 3] == 256


def test_noise_gives_boxes_inside_the_image():
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = masks.components(gaussian_filter(rng.uniform(size=(64, 64)), 3) ** 2 * 2, softness=0.3, **SETTINGS)
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        assert (found.boxes[:, :2] >= 0).all() and (found.boxes[:, 2:] > 0).all()
        assert (found.boxes[:, :2] + found.boxes[:, 2:] <= 256 + 1e-9).all()


# ------------------------------------------------------------------ losses

MASKS = np.stack([masks.rasterize(APART, 256, 32, softness=0.4), masks.rasterize(np.empty((0, 4)), 256, 32)])[..., None]


def logits_of(probabilities):
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped)).astype(np.float32)


@pytest.mark.parametrize("name", mask_losses.LOSSES)
def test_every_loss_is_least_at_the_target_itself(name):
    loss = mask_losses.LOSSES[name]
    exact = float(loss(MASKS, logits_of(MASKS)))
    for other in (0.9 * MASKS, np.round(MASKS), np.sqrt(MASKS), 1 - MASKS, np.roll(MASKS, 3, axis=1)):
        assert float(loss(MASKS, logits_of(other))) > exact + 1e-4
    if name != "cross_entropy":  # whose least value is the targets' entropy
        assert exact == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("name", mask_losses.LOSSES)
def test_every_loss_is_finite_without_any_box_and_for_sure_mistakes(name):
    for mask in (np.zeros_like(MASKS), MASKS):
        for logit in (-300.0, 0.0, 300.0):
            assert np.isfinite(float(mask_losses.LOSSES[name](mask, np.full_like(MASKS, logit))))


def test_the_losses_are_those_of_the_papers_where_targets_are_zero_or_one():
    hard, logits = (
        (MASKS > 0.5).astype(np.float32),
        np.random.default_rng(0).normal(size=MASKS.shape).astype(np.float32),
    )
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    shared, both = (hard * p).sum(), hard.sum() + p.sum()
    surprise = -np.log(np.where(hard > 0, p, 1 - p))
    wanted = {
        "cross_entropy": surprise.mean(),
        "focal": (np.where(hard > 0, 1 - p, p) ** 2 * surprise).mean(),
        "dice": 1 - (2 * shared + 1) / (both + 1),
        "iou": 1 - (shared + 1) / (both - shared + 1),
    }
    made = mask_losses.losses(hard, logits, dict.fromkeys(wanted, 2.0))
    for name, value in wanted.items():
        assert float(made[name]) == pytest.approx(2 * value, rel=1e-4)


def test_weights_choose_the_losses_and_bad_ones_are_refused():
    assert set(mask_losses.losses(MASKS, logits_of(MASKS), {"dice": 0.0, "iou": 1.0})) == {"iou"}
    for weights in ({"dise": 1.0}, {}, {"dice": 0.0}, {"dice": -1.0, "iou": 1.0}, {"dice": float("nan")}):
        with pytest.raises(BadInput, match=r"model\.mask_losses"):
            check_network(schema.model_settings("mobilenet_unet", mask_losses=weights), 64, schema.Loss())
