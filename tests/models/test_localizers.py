"""What is peculiar to each localizer that predicts masks or one box; what all share is in test_contract.py."""

import keras
import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.models.box_regressor import BoxRegressor
from pneumonia.models.registry import family
from pneumonia.models.segmentation_unet import SegmentationUNet, is_encoder
from pneumonia.models.unet import MobileNetUNet
from pneumonia.system.errors import BadInput, EnvironmentFailure

SIZE = 64
NAMES = {MobileNetUNet: "mobilenet_unet", SegmentationUNet: "segmentation_unet", BoxRegressor: "box_regressor"}
BOXES = [np.array([[8.0, 16, 24, 32]]), np.empty((0, 4)), np.array([[4.0, 4, 20, 40], [36, 8, 24, 44]])]
CLASSES = np.array([2, 0, 2])


def make(kind, size=SIZE, **settings):
    return kind(schema.model_settings(NAMES[kind], **settings), size)


def with_frozen_backbone(family):
    network = family.build()
    family.freeze(network, True)
    return network


def trainable(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def images(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 1)).astype(np.uint8)


def logits_of(probabilities):
    clipped = np.clip(probabilities, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


# ------------------------------------------------------------------ masks


@pytest.mark.parametrize("kind", [MobileNetUNet, SegmentationUNet])
@pytest.mark.parametrize("softness", [0.0, 0.3])
def test_targets_decode_to_their_boxes(kind, softness):
    of_kind = make(kind, mask_softness=softness)
    for boxes, mask in zip(BOXES, of_kind.targets(BOXES, CLASSES)["mask"]):
        found = of_kind.decode({"logits": logits_of(mask)[None]})[0]
        kept = found.boxes[found.scores > 0.5]
        assert len(kept) == len(boxes)
        assert len(boxes) == 0 or (geometry.iou_matrix(kept, boxes).max(axis=0) > 0.95).all()


def test_the_experiment_s_losses_are_what_is_minimised():
    of_kind = make(MobileNetUNet, mask_losses={"focal": 3.0, "iou": 0.5})
    targets, logits = of_kind.targets(BOXES, CLASSES), np.zeros((3, 32, 32, 1), np.float32)
    found = of_kind.losses(targets, {"logits": logits})
    assert set(found) == {"focal", "iou"}
    assert float(found["focal"]) == pytest.approx(3.0 * np.log(2) / 4, rel=0.02)


def test_settings_of_masks_are_checked_before_anything_is_built():
    for settings, text in (
        ({"mask_losses": {"dise": 1.0}}, "dice"),
        ({"mask_softness": 1.5}, "give 0 to 1"),
        ({"mask_threshold": 1.0}, "above 0 and below 1"),
    ):
        with pytest.raises(BadInput, match=text):
            make(MobileNetUNet, **settings)


def test_the_report_s_unet_can_keep_its_backbone_frozen():
    network = with_frozen_backbone(make(MobileNetUNet, 32))
    assert trainable(network) == 1024 + 512 + 256 + 128 + 64 + 1
    assert trainable(make(MobileNetUNet, 32).build()) == 3_208_961


# ------------------------------------------------------------------ segmentation-models


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return make(SegmentationUNet, encoder="mobilenetv2").build()


def test_the_mask_has_the_input_s_size_and_is_logits(network):
    logits = np.asarray(network(images(), training=False)["logits"])
    assert logits.shape == (2, SIZE, SIZE, 1) and logits.dtype == np.float32
    assert logits.min() < 0 < logits.max()  # no sigmoid on the way
    assert network.count_params() == 8_047_441


def test_freezing_holds_the_encoder_and_not_the_decoder(network):
    of_kind, before = make(SegmentationUNet), trainable(network)
    of_kind.freeze(network, True)
    unet = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    encoder = sum(layer.count_params() for layer in unet.layers if is_encoder(layer))
    assert encoder == 2_257_984  # MobileNetV2 without its head, as keras.applications has it
    assert 0 < trainable(network) <= network.count_params() - encoder
    of_kind.freeze(network, False)
    assert trainable(network) == before


def test_layers_in_half_precision_give_float32_logits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = make(SegmentationUNet).build()
        logits = network(images(), training=False)["logits"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(np.asarray(logits)).all()


@pytest.mark.parametrize("encoder", ["resnet18", "vgg16", "efficientnetb0"])
def test_other_encoders_build_and_freeze(encoder):
    network = with_frozen_backbone(make(SegmentationUNet, 32, encoder=encoder))
    assert network.output["logits"].shape == (None, 32, 32, 1)
    unet = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    assert not any(layer.trainable_variables for layer in unet.layers if is_encoder(layer))
    assert trainable(network) > 2_000_000  # the decoder's


def test_an_encoder_that_cannot_be_is_refused():
    with pytest.raises(BadInput, match=r"model\.encoder: 'densenet121' is not allowed"):  # Keras 3 cannot build it
        make(SegmentationUNet, encoder="densenet121")
    with pytest.raises(BadInput, match="did you mean 'resnet50'"):
        make(SegmentationUNet, encoder="resnet55")
    with pytest.raises(BadInput, match="multiple of 32"):
        family(schema.model_settings("segmentation_unet"), 100)


def test_the_library_greets_nobody_on_stdout(capfd):
    make(SegmentationUNet, 32).build()
    assert capfd.readouterr().out == ""


def test_encoder_weights_come_from_a_file(tmp_path):
    source = keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None)
    file = tmp_path / "encoder.weights.h5"
    source.save_weights(file)
    with pytest.raises(BadInput, match=r"model\.weights_sha256=") as refused:
        make(SegmentationUNet, 32, weights=str(file)).build()
    sha256 = str(refused.value).rpartition("=")[2].strip()
    network = make(SegmentationUNet, 32, weights=str(file), weights_sha256=sha256).build()
    unet = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    np.testing.assert_array_equal(
        np.asarray(unet.get_layer("block_3_expand").kernel), np.asarray(source.get_layer("block_3_expand").kernel)
    )
    with pytest.raises(EnvironmentFailure, match="does not exist"):
        make(SegmentationUNet, 32, weights=str(tmp_path / "none.h5")).build()


# ------------------------------------------------------------------ one box


def test_the_report_s_parameter_counts():
    network = with_frozen_backbone(make(BoxRegressor, 128))
    assert network.count_params() == 2_341_189
    assert trainable(network) == 83_205
    free = make(BoxRegressor, 128).build()
    assert free.count_params() == 2_341_189 and trainable(free) > 2_000_000


def test_the_largest_box_is_the_target_and_decodes_to_itself():
    of_kind = make(BoxRegressor)
    targets = of_kind.targets(BOXES, CLASSES)
    np.testing.assert_allclose(targets["box"] * SIZE, [[8, 16, 24, 32], [0, 0, 0, 0], [36, 8, 24, 44]])
    np.testing.assert_array_equal(targets["is_box"], [[1], [0], [1]])
    outputs = {"box": targets["box"], "logits": np.array([[2.0], [-3.0], [0.0]])}
    found = of_kind.decode(outputs)
    np.testing.assert_allclose([each.scores[0] for each in found], [0.8808, 0.0474, 0.5], atol=1e-4)
    np.testing.assert_allclose(found[0].boxes, BOXES[0], atol=1e-4)
    np.testing.assert_allclose(found[2].boxes, BOXES[2][1:], atol=1e-4)


def test_a_box_off_the_image_is_cut_to_it():
    wild = np.array([[-2.0, 0.5, 9.0, 0.1], [1.5, -1, -0.5, 0.2], [0.2, 0.2, -0.1, 0.0]])
    for found in make(BoxRegressor).decode({"box": wild, "logits": np.zeros((3, 1))}):
        ((x, y, width, height),) = found.boxes
        assert x >= 0 and y >= 0 and width >= 1 and height >= 1 and x + width <= SIZE and y + height <= SIZE


def test_images_without_a_box_teach_the_class_only():
    of_kind = make(BoxRegressor)
    outputs = {"box": np.full((3, 4), 0.5, np.float32), "logits": np.zeros((3, 1), np.float32)}
    none = of_kind.losses(of_kind.targets([np.empty((0, 4))] * 3, np.zeros(3)), outputs)
    assert float(none["box"]) == 0.0
    assert float(none["cross_entropy"]) == pytest.approx(np.log(2), rel=1e-5)
    targets = of_kind.targets(BOXES, CLASSES)
    wanted = np.mean((targets["box"][[0, 2]] - 0.5) ** 2)
    assert float(of_kind.losses(targets, outputs)["box"]) == pytest.approx(wanted, rel=1e-5)
    assert float(of_kind.metrics(targets, outputs)["accuracy"]) == pytest.approx(1 / 3)
