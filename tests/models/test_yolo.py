"""What is peculiar to YOLOv8's settings and losses; what every family must do is in test_contract.py."""

import contextlib

import keras
import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.decoding.anchor_boxes import BINS, anchor_points
from pneumonia.models.detector import MAX_TRUE_BOXES
from pneumonia.models.registry import family as registry_family
from pneumonia.models.yolo import losses as objective
from pneumonia.models.yolo.family import YOLOv8
from pneumonia.runs import checkpoint
from pneumonia.system.errors import BadInput
from pneumonia.system.files import sha256, write_json
from pneumonia.training.learner import Learner, as_tensors

SIZE = 64
NONE = np.empty((0, 4))
ONE = np.array([[8.0, 16, 24, 32]])
FOUR = np.array([[2.0, 2, 28, 28], [34, 2, 28, 28], [2, 34, 28, 28], [34, 34, 28, 28]])
MANY = np.array([[4.0 * k, 3.0 * k, 20, 24] for k in range(MAX_TRUE_BOXES + 4)])
EDGES = np.array([[0.0, 0, 20, SIZE], [44, 0, 20, SIZE], [0, 44, SIZE, 20]])
WHOLE = np.array([[0.0, 0, SIZE, SIZE]])
BATCHES = {  # two images each
    "one, and none": [ONE, NONE],
    "four": [FOUR, FOUR],
    "more than there is room for": [MANY, MANY],
    "on the edges": [EDGES, WHOLE],
    "smaller than a cell": [np.array([[9.0, 9, 2, 2]]), np.array([[0.0, 0, 1, 1]])],
    "twice the same": [np.concatenate([ONE, ONE]), NONE],
    "none at all": [NONE, NONE],
}
SETTINGS = {
    "default": {},
    "everything else": {"class_loss": "focal", "distribution_loss": 0.0, "class_prior": 0.0, "image_loss": 0.5},
}


def make(**settings):
    return YOLOv8(schema.model_settings(name="yolov8", **settings), SIZE)


def images(count=2):
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 1)).astype(np.uint8)


@contextlib.contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def learner_of(family):
    keras.utils.set_random_seed(0)
    network = family.build()
    names = list(family.losses(as_tensors(family.targets([ONE, NONE], np.array([2, 0]))), network(images())))
    learner = Learner(network, family, names)
    learner.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=10.0), run_eagerly=True)
    return learner


@pytest.fixture(scope="module", params=SETTINGS)
def trained(request):
    """(settings, learner, {batch: losses of a step on it})."""
    family = make(**SETTINGS[request.param])
    learner = learner_of(family)
    seen = {}
    for name, boxes in BATCHES.items():
        classes = np.array([2 if len(each) else 0 for each in boxes])
        targets = as_tensors(family.targets(boxes, classes))
        learner.reset_metrics()
        seen[name] = learner.train_on_batch(images(), targets, return_dict=True)
    return SETTINGS[request.param], learner, seen


def test_every_number_and_place_of_boxes_trains_with_finite_losses(trained):
    _, learner, seen = trained
    assert set(seen) == set(BATCHES)
    for name, losses in seen.items():
        assert np.isfinite(list(losses.values())).all(), (name, losses)
        assert (losses["box"] > 0) == (name not in ("none at all", "smaller than a cell")), name
    assert all(np.isfinite(weight).all() for weight in learner.get_weights())


def test_the_settings_say_which_losses_and_outputs_there_are(trained):
    settings, learner, seen = trained
    wanted = {"loss", "class", "box"}
    wanted |= {"image"} if settings.get("image_loss") else set()
    wanted |= {"distribution"} if settings.get("distribution_loss", 1.5) else set()
    assert set(seen["four"]) == wanted
    assert ("image_logits" in learner.network.output) == ("image" in wanted)


def test_bfloat16_trains_and_its_outputs_are_float32():
    """keras-cv's own detector raises TypeError when it is built under this policy."""
    family = make(image_loss=0.5)
    with policy("mixed_bfloat16"):
        learner = learner_of(family)
        before = [np.array(weight) for weight in learner.network.get_weights()]
        losses = learner.train_on_batch(
            images(), as_tensors(family.targets([EDGES, NONE], np.array([2, 1]))), return_dict=True
        )
    assert {layer.compute_dtype for layer in learner.network.layers if layer.name.endswith("_conv")} == {"bfloat16"}
    assert np.isfinite(list(losses.values())).all()
    assert any((old != new).any() for old, new in zip(before, learner.network.get_weights()))
    outputs = {name: np.asarray(value) for name, value in learner.network(images()).items()}
    assert {value.dtype for value in outputs.values()} == {np.dtype(np.float32)}
    assert len(family.decode(outputs)) == 2


@pytest.mark.parametrize(("prior", "wanted"), [(0.0, 0.5), (0.01, 0.01), (0.2, 0.2)])
def test_the_prior_is_what_an_anchor_says_at_the_start(prior, wanted):
    keras.utils.set_random_seed(0)
    family = make(class_prior=prior)
    biases = [layer.bias for layer in family.build().layers if layer.name.startswith("head_") and "_class" in layer.name
              and getattr(layer, "bias", None) is not None]  # fmt: skip
    assert len(biases) == 3
    np.testing.assert_allclose([float(1 / (1 + np.exp(-np.asarray(bias)[0]))) for bias in biases], wanted, rtol=1e-5)


def test_the_image_output_adds_its_layer_and_leaves_the_confidences_alone():
    keras.utils.set_random_seed(0)
    plain, with_image = make(), make(image_loss=2.0)
    network = with_image.build()
    assert network.count_params() - plain.build().count_params() == (2 * 256 + 1) * 3
    outputs = {name: np.asarray(value) for name, value in network(images()).items()}
    assert outputs["image_logits"].shape == (2, 3)
    loud = outputs | {"logits": outputs["logits"] + 4.0}
    for found, wanted in zip(
        with_image.decode(loud), plain.decode({name: loud[name] for name in ("distances", "logits")})
    ):
        np.testing.assert_array_equal(found.boxes, wanted.boxes)
        np.testing.assert_array_equal(found.scores, wanted.scores)
    targets = with_image.targets([ONE, NONE], np.array([2, 1]))
    undecided = outputs | {"image_logits": np.zeros((2, 3), np.float32)}
    assert float(with_image.losses(targets, undecided)["image"]) == pytest.approx(2.0 * np.log(3), rel=1e-5)
    sure = np.array([[0.0, 0, 50], [0, 50, 0]], np.float32)
    assert float(with_image.losses(targets, outputs | {"image_logits": sure})["image"]) == pytest.approx(0, abs=1e-5)


def test_quality_focal_loss_is_its_formula():
    """Li et al., equation 2: -|y - s|^2 ((1 - y) log(1 - s) + y log s)."""
    logits, targets = (each.ravel() for each in np.meshgrid([-6.0, -0.5, 0.0, 3.0], [0.0, 0.3, 1.0]))
    sure = 1 / (1 + np.exp(-logits))
    wanted = -((targets - sure) ** 2) * ((1 - targets) * np.log(1 - sure) + targets * np.log(sure))
    found = np.asarray(objective.quality_focal(logits.astype(np.float32), targets.astype(np.float32)))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)
    at_target = objective.quality_focal(np.log(np.float32([0.25 / 0.75])), np.float32([0.25]))
    np.testing.assert_allclose(np.asarray(at_target), 0, atol=1e-6)


def test_the_padding_keeps_the_largest_boxes():
    boxes = np.array([[0.0, 0, 10 + k, 10] for k in range(MAX_TRUE_BOXES + 4)])
    made = make().targets([boxes, NONE], np.array([2, 0]))
    assert made["is_box"].sum(axis=1).tolist() == [MAX_TRUE_BOXES, 0]
    widths = made["corners"][0, :, 2] - made["corners"][0, :, 0]
    assert sorted(widths.tolist(), reverse=True) == widths.tolist()
    assert widths.min() == 10 + 4


@pytest.mark.parametrize("boxes", [ONE, FOUR, EDGES, WHOLE], ids=["inside", "four", "edges", "whole image"])
def test_right_distances_leave_no_box_loss_wherever_the_boxes_are(boxes):
    """Every anchor inside a box points at the sides of the box that has its centre nearest."""
    points, strides = anchor_points(SIZE)
    corners = geometry.to_corners(boxes)
    middles = (corners[:, :2] + corners[:, 2:]) / 2
    nearest = np.argmin(((points[:, None] - middles) ** 2).sum(axis=-1), axis=1)
    own = corners[nearest]
    sides = np.concatenate([points - own[:, :2], own[:, 2:] - points], axis=1) / strides[:, None]
    sides = np.clip(sides, 0, BINS - 1)
    low = np.minimum(np.floor(sides).astype(int), BINS - 2)
    share = (sides - low)[..., None]
    probability = np.eye(BINS)[low] * (1 - share) + np.eye(BINS)[low + 1] * share
    outputs = {
        "distances": np.log(probability + 1e-9).reshape(1, len(points), -1).astype(np.float32),
        "logits": np.zeros((1, len(points), 1), np.float32),
    }
    family = make()
    losses = family.losses(family.targets([boxes], np.array([2])), outputs)
    assert float(losses["box"]) == pytest.approx(0, abs=0.02)
    shifted = outputs | {"distances": np.roll(outputs["distances"], 1, axis=-1)}
    assert float(family.losses(family.targets([boxes], np.array([2])), shifted)["box"]) > 0.2


def test_settings_are_checked_before_anything_is_built():
    for settings, text in (
        ({"size": "l"}, "xs, s, m"),
        ({"class_loss": "focl"}, "did you mean 'focal'"),
        ({"class_prior": 1.0}, "below 1"),
        ({"distribution_loss": -1.0}, "0 or more"),
        ({"image_loss": float("nan")}, "0 or more"),
        ({"weights": "imagenet"}, "no imagenet weights"),
    ):
        with pytest.raises(BadInput, match=text):
            registry_family(schema.model_settings("yolov8", **settings), SIZE)


def test_the_backbone_starts_from_another_run_and_can_stand_still(tmp_path):
    keras.utils.set_random_seed(0)
    first = make().build()
    file = tmp_path / "weights.safetensors"
    checkpoint.write_weights(file, first.variables)
    write_json(tmp_path / "done.json", {"weights_sha256": sha256(file)})
    keras.utils.set_random_seed(1)
    family = make(weights=str(file), image_loss=1.0)
    second = family.build()
    backbones = [network.get_layer("backbone") for network in (first, second)]
    assert len(backbones[0].variables) > 50
    assert all(np.array_equal(a, b) for a, b in zip(*(each.get_weights() for each in backbones)))
    family.freeze(second, True)
    assert not backbones[1].trainable_variables
    assert second.trainable_variables


def test_the_decoder_leaves_the_limits_of_a_table_to_the_experiment():
    """Boxes beyond the usual 40, and below the usual 0.01, are there for who asks for them, and change no other box."""
    family, rng = YOLOv8(schema.model_settings(name="yolov8"), 256), np.random.default_rng(0)
    anchors = len(anchor_points(256)[0])
    outputs = {
        # small boxes, which suppress few others
        "distances": np.tile(-3.0 * np.arange(BINS, dtype=np.float32), (2, anchors, 4)),
        "logits": rng.normal(-8.0, 2.0, (2, anchors, 1)).astype(np.float32),
    }
    generous = family.decode(outputs)
    assert all(len(each.scores) > 40 and each.scores.min() < 0.01 for each in generous)
    family.min_score = 0.01
    for all_boxes, usual in zip(generous, family.decode(outputs)):
        sure = all_boxes.scores >= 0.01
        np.testing.assert_array_equal(all_boxes.boxes[sure], usual.boxes)
        np.testing.assert_array_equal(all_boxes.scores[sure], usual.scores)
