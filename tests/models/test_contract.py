"""What every family of models must do, whichever it is."""

import keras
import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.models.normalisation import all_layers
from pneumonia.models.registry import family
from pneumonia.runs import checkpoint
from pneumonia.schema.models import FAMILIES
from pneumonia.system.errors import BadInput
from pneumonia.training.learner import Learner, as_tensors

SIZE = 64
BOXES = [np.array([[8.0, 16, 24, 32]]), np.empty((0, 4)), np.array([[4.0, 4, 20, 40], [36, 8, 20, 44]])]
CLASSES = np.array([2, 0, 2])


def make(name, size=SIZE, **settings):
    return family(schema.model_settings(name=name, **settings), size)


@pytest.fixture(scope="module", params=[*FAMILIES, "mobilenetv2", "mobilenet", "efficientnetlite0"])
def built(request):
    keras.utils.set_random_seed(0)
    of_name = make(request.param)
    return of_name, of_name.build()


def images(count=3, dtype=np.uint8):
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 1)).astype(dtype)


def outputs_of(network, batch):
    return {name: np.asarray(value) for name, value in network(batch, training=False).items()}


def test_integers_and_floats_give_the_same_whatever_the_batch_size(built):
    _, network = built
    whole = outputs_of(network, images())
    for one in range(3):
        alone = outputs_of(network, images(dtype=np.float32)[one : one + 1])
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], whole[name][one], rtol=1e-3, atol=1e-4)


def test_outputs_are_float32_and_decode_to_what_the_kind_promises(built):
    of_name, network = built
    outputs = outputs_of(network, images())
    assert all(value.dtype == np.float32 for value in outputs.values())
    decoded = of_name.decode(outputs)
    assert len(decoded) == 3
    for each in decoded:
        if of_name.kind == "classifier":
            assert ((each >= 0) & (each <= 1)).all()
        else:
            assert each.boxes.shape == (len(each.scores), 4)
            assert ((each.scores > 0) & (each.scores <= 1)).all()
            assert (each.boxes[:, :2] >= 0).all() and (each.boxes[:, 2:] > 0).all()
            assert (each.boxes[:, :2] + each.boxes[:, 2:] <= SIZE + 1e-3).all()


def test_a_few_steps_lower_the_loss(built):
    """Without dropout, whose chance on three images is larger than what eight steps gain."""
    of_name, _ = built
    if of_name.kind == "classifier":
        of_name = make(of_name.model.name, dropout=0.0)
    keras.utils.set_random_seed(0)
    network = of_name.build()
    targets, outputs = as_tensors(of_name.targets(BOXES, CLASSES)), network(images())
    parts, metrics = list(of_name.losses(targets, outputs)), list(of_name.metrics(targets, outputs))
    learner = Learner(network, of_name, [*parts, *metrics])
    # eagerly: eight steps take less than tracing one, a minute for DenseNet121; compiled steps are every training's
    learner.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    steps = []
    for _ in range(8):
        learner.reset_metrics()  # else a step's value is the mean over all steps before it
        steps.append(learner.train_on_batch(images(), targets, return_dict=True))
    losses = [step["loss"] for step in steps]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert set(steps[0]) == {"loss", *parts, *metrics}
    assert steps[0]["loss"] == pytest.approx(sum(steps[0][part] for part in parts), rel=1e-4)


def test_a_batch_without_any_box_has_a_finite_loss(built):
    of_name, network = built
    none = as_tensors(of_name.targets([np.empty((0, 4))] * 3, np.zeros(3, int)))
    empty = sum(float(value) for value in of_name.losses(none, network(images())).values())
    some = sum(
        float(v) for v in of_name.losses(as_tensors(of_name.targets(BOXES, CLASSES)), network(images())).values()
    )
    assert np.isfinite(empty) and empty < 3 * some


def test_targets_have_the_same_shapes_whatever_the_boxes(built):
    of_name, _ = built
    many = [np.tile([[1.0, 1, 20, 20]], (12, 1))] * 3
    shapes = [
        {name: value.shape for name, value in of_name.targets(boxes, CLASSES).items()}
        for boxes in (BOXES, many, [np.empty((0, 4))] * 3)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_weights_come_back_to_the_same_output(built, tmp_path):
    of_name, network = built
    checksum = checkpoint.write_weights(tmp_path / "weights.safetensors", network.variables)
    other = of_name.build()
    checkpoint.read_weights(tmp_path / "weights.safetensors", other.variables, checksum)
    first, second = outputs_of(network, images()), outputs_of(other, images())
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_statistics_are_usable_after_a_short_training(built):
    """What inference sees must be near what training saw: no batch normalisation may remember its initial values."""
    _, network = built
    momenta = [layer.momentum for layer in all_layers(network) if isinstance(layer, keras.layers.BatchNormalization)]
    assert max(momenta, default=0.0) <= 0.97


@pytest.mark.parametrize(
    ("name", "size", "total", "trainable"),
    [
        ("mobilenet_unet", 224, 3_230_849, 3_208_961),
        ("densenet121", 224, 7_038_529, 6_954_881),
        ("chexnet", 224, 7_038_529, 6_954_881),
        ("fcnn", 128, 6_291_713, 6_291_713),
        ("cnn", 128, 11_247_457, 11_245_921),
        ("mobilenet", 224, 3_229_889, 3_208_001),
        ("mobilenetv2", 128, 2_259_265, 2_225_153),
        ("yolov8", 256, 4_614_515, 4_602_323),
    ],
)
def test_parameter_counts_are_exact(name, size, total, trainable):
    network = make(name, size).build()
    assert network.count_params() == total
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == trainable


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BadInput, match="yolov8"):
        make("yolov9")
    with pytest.raises(BadInput, match="binary, classes"):
        make("mobilenetv2", head="two").build()
    for name in ("yolov8", "mobilenet_unet"):
        with pytest.raises(BadInput, match="multiple of 32"):
            make(name, size=100)


def test_the_pyramid_projection_is_a_convolution_over_the_concatenation():
    from pneumonia.models.unet import PyramidProjection

    rng = np.random.default_rng(0)
    levels = [rng.normal(size=(2, 16 >> k, 16 >> k, 3 + k)).astype(np.float32) for k in range(3)]
    projection = PyramidProjection()
    made = np.asarray(projection(levels))
    upsampled = [level.repeat(1 << k, axis=1).repeat(1 << k, axis=2) for k, level in enumerate(levels)]
    wanted = np.concatenate(upsampled, axis=-1) @ np.asarray(projection.kernel) + np.asarray(projection.bias)
    np.testing.assert_allclose(made, wanted, atol=1e-5)


def iou_of(found, true):
    return geometry.iou_matrix(found, true).max(axis=0)


def test_a_perfect_mask_gives_the_boxes_back():
    of_name = make("mobilenet_unet")
    for boxes, mask in zip(BOXES, of_name.targets(BOXES, CLASSES)["mask"]):
        logits = np.where(mask > 0.5, 8.0, -8.0)[None]
        found = of_name.decode({"logits": logits})[0]
        kept = found.boxes[found.scores > 0.5]
        assert len(kept) == len(boxes)
        assert len(boxes) == 0 or (iou_of(kept, boxes) > 0.9).all()


def test_perfect_distances_give_the_boxes_back():
    """Every anchor inside a box points at its sides; decoding and suppression leave that box alone."""
    from pneumonia.decoding.anchor_boxes import BINS, anchor_points

    of_name = make("yolov8")
    points, strides = anchor_points(SIZE)
    box = np.array([[8.0, 16, 24, 32]])
    x1, y1, x2, y2 = geometry.to_corners(box)[0]
    sides = np.stack([points[:, 0] - x1, points[:, 1] - y1, x2 - points[:, 0], y2 - points[:, 1]], axis=-1)
    inside = (sides.min(axis=1) > 0) & ((sides / strides[:, None]).max(axis=1) < BINS - 1)
    wanted = np.clip(sides / strides[:, None], 0, BINS - 1)
    distances = np.full((len(points), 4, BINS), -30.0, np.float32)
    low = np.floor(wanted).astype(int)
    share = wanted - low
    for anchor, side in np.ndindex(wanted.shape):
        distances[anchor, side, low[anchor, side]] = np.log(max(1 - share[anchor, side], 1e-9))
        if share[anchor, side] > 0:
            distances[anchor, side, low[anchor, side] + 1] = np.log(share[anchor, side])
    logits = np.where(inside, 4.0, -9.0)[None, :, None]
    found = of_name.decode({"distances": distances.reshape(1, len(points), -1), "logits": logits})[0]
    assert len(found.boxes) == 1
    np.testing.assert_allclose(found.boxes, box, atol=0.05)


def test_a_frozen_backbone_leaves_the_report_s_count():
    family = make("mobilenetv2", 128)
    network = family.build()
    family.freeze(network, True)
    assert network.count_params() == 2_259_265
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 1_281
