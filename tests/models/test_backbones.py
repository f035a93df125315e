"""Backbones of keras.applications: the same network whatever the weights that it starts from."""

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from pneumonia import schema
from pneumonia.models import pretrained
from pneumonia.models.backbones import build_backbone, constructors
from pneumonia.models.keras_private import replace_get_file
from pneumonia.models.normalisation import DEVIATION, MEAN
from pneumonia.models.registry import family
from pneumonia.runs import checkpoint
from pneumonia.system.files import sha256

SIZE = 32
ONE_OF_EACH_RANGE = ("mobilenetv2", "densenet121", "vgg16", "efficientnetb0", "efficientnetv2b0")


def images(channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, channels), dtype=np.uint8)


def imagenet_file(name: str, file) -> None:
    """Writes an HDF5 as keras.applications ships them, of random weights; an EfficientNet's with ImageNet's mean."""
    keras.utils.set_random_seed(0)
    source = constructors()[name](include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    for layer in source.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.float32(MEAN), np.float32(DEVIATION), layer.get_weights()[2]])
    with h5py.File(file, "w") as stream:
        legacy_h5_format.save_weights_to_hdf5_group(stream, source)


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """The file that keras.applications' download gives."""
    file = tmp_path_factory.mktemp("download") / "imagenet.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(pretrained.FOLDER_VARIABLE, raising=False)
        with replace_get_file(lambda *_, **__: str(file)):
            yield file


@pytest.fixture(scope="module")
def efficientnet(downloaded):
    """Keras's own with ImageNet's weights, and ours."""
    imagenet_file("efficientnetb0", downloaded)
    own = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(SIZE, SIZE, 3))
    settings = schema.model_settings("efficientnetb0", weights="imagenet")
    network, input_range = build_backbone(settings, "efficientnetb0", SIZE)
    assert input_range == "none"
    return own, network


def outputs(network: keras.Model) -> np.ndarray:
    return np.asarray(network(images(3)))


def test_an_efficientnet_normalises_as_keras_applications_own(efficientnet):
    at_stem = (keras.Model(each.input, each.get_layer("stem_conv_pad").output) for each in efficientnet)
    np.testing.assert_allclose(*map(outputs, at_stem), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(*map(outputs, efficientnet), rtol=1e-3, atol=1e-6)


def test_an_efficientnet_s_imagenet_file_may_be_named_by_its_path(efficientnet, downloaded):
    settings = schema.model_settings("efficientnetb0", weights=str(downloaded), weights_sha256=sha256(downloaded))
    by_path, _ = build_backbone(settings, "efficientnetb0", SIZE)
    np.testing.assert_allclose(outputs(by_path), outputs(efficientnet[1]), rtol=1e-3, atol=1e-6)


def test_a_run_of_an_efficientnet_starts_another(efficientnet, tmp_path):
    file = tmp_path / "weights.safetensors"
    checkpoint.write_weights(file, efficientnet[1].variables)
    second, _ = build_backbone(
        schema.model_settings("efficientnetb0", weights=str(file), weights_sha256=sha256(file)), "efficientnetb0", SIZE
    )
    assert np.array_equal(outputs(second), outputs(efficientnet[1]))


@pytest.mark.parametrize("name", ONE_OF_EACH_RANGE)
def test_a_network_that_began_with_imagenet_s_weights_is_read_back_as_it_was(name, downloaded, tmp_path):
    imagenet_file(name, downloaded)
    settings = schema.model_settings(name=name, weights="imagenet", head="classes")
    trained = family(settings, SIZE).build()
    checkpoint.write_weights(tmp_path / "weights.safetensors", trained.variables)
    read = family(settings, SIZE, pretrained=False).build()
    checkpoint.read_weights(tmp_path / "weights.safetensors", read.variables)
    a, b = (np.asarray(network(images(1))["logits"]) for network in (trained, read))
    assert np.array_equal(a, b) and not np.array_equal(a[0], a[1])
