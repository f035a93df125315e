"""Pretrained weights from files: CheXNet's, Keras's, our own runs'; checked, and refused with a way out."""

import hashlib
import json

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from pneumonia import schema
from pneumonia.data.labels import NIH
from pneumonia.models import pretrained
from pneumonia.models.normalisation import all_layers
from pneumonia.models.registry import family
from pneumonia.models.yolo.network import BACKBONE, SIZES
from pneumonia.runs import checkpoint
from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.files import sha256


def model(name="mobilenetv2", **settings) -> schema.Model:
    return schema.model_settings(name, **(({"alpha": 0.35} if name == "mobilenetv2" else {}) | settings))


def densenet(classes: int | None = None) -> keras.Model:
    made = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(64, 64, 3))
    return pretrained.chexnet(made) if classes else made


def write_hdf5(file, network: keras.Model) -> None:
    """Weights in the HDF5 of older Keras, in which CheXNet and keras.applications ship theirs."""
    with h5py.File(file, "w") as stream:
        legacy_h5_format.save_weights_to_hdf5_group(stream, network)


@pytest.fixture(scope="module")
def chexnet(tmp_path_factory):
    """A 14-class file as CheXNet's authors ship theirs, and its backbone's values."""
    keras.utils.set_random_seed(7)
    network = densenet(len(NIH))
    assert network.output_shape == (None, 14)
    file = tmp_path_factory.mktemp("weights") / pretrained.CHEXNET_FILE
    write_hdf5(file, network)
    return file, [np.asarray(variable) for variable in network.variables[:-2]]


def test_chexnet_s_file_becomes_the_backbone_and_its_head_is_replaced(chexnet):
    file, values = chexnet
    settings = model(name="chexnet", weights="chexnet", weights_folder=str(file.parent), weights_sha256=sha256(file))
    network = family(settings, 64).build()
    assert network.output["logits"].shape == (None, 1)
    backbone = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(values, backbone.variables, strict=True))
    other = family(model(name="chexnet"), 64).build()
    assert not np.array_equal(values[0], np.asarray(other.variables[0]))


def test_a_file_may_be_named_by_its_path_with_or_without_the_14_outputs(chexnet, tmp_path):
    file, values = chexnet
    made = densenet()
    for variable, value in zip(made.variables, values):
        variable.assign(value)
    write_hdf5(tmp_path / "backbone.h5", made)
    for name, path in (("densenet121", file), ("chexnet", tmp_path / "backbone.h5")):
        network = family(model(name=name, weights=str(path), weights_sha256=sha256(path)), 64).build()
        backbone = next(layer for layer in network.layers if isinstance(layer, keras.Model))
        assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(values, backbone.variables, strict=True))


def test_a_file_that_is_on_no_list_needs_its_checksum(chexnet):
    file, _ = chexnet
    settings = {"name": "chexnet", "weights": "chexnet", "weights_folder": str(file.parent)}
    with pytest.raises(BadInput, match=rf"weights_sha256={sha256(file)}"):
        family(model(**settings), 64).build()
    with pytest.raises(BadInput, match="download it again"):
        family(model(**settings, weights_sha256="0" * 64), 64).build()


def test_a_missing_file_is_named_with_its_folder(tmp_path, monkeypatch):
    monkeypatch.delenv(pretrained.FOLDER_VARIABLE, raising=False)
    with pytest.raises(EnvironmentFailure, match="weights_folder"):
        family(model(name="chexnet", weights="chexnet"), 64).build()
    with pytest.raises(EnvironmentFailure, match=rf"{tmp_path}/{pretrained.CHEXNET_FILE}"):
        family(model(name="chexnet", weights="chexnet", weights_folder=str(tmp_path)), 64).build()
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(EnvironmentFailure, match=rf"{tmp_path}/mobilenet_v2_weights.*no_top.h5: is missing"):
        family(model(weights="imagenet", alpha=1.0), 128).build()


def test_without_internet_the_error_says_what_to_download_and_where_to_put_it(monkeypatch):
    monkeypatch.delenv(pretrained.FOLDER_VARIABLE, raising=False)

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    with pytest.raises(
        EnvironmentFailure, match=r"densenet121.*notop\.h5.*no route to host.*model\.weights_folder=DIR"
    ):
        family(model(name="densenet121", weights="imagenet"), 64).build()
    assert keras.utils.get_file is offline


def test_imagenet_s_file_is_taken_from_the_folder(tmp_path):
    keras.utils.set_random_seed(3)
    source = keras.applications.MobileNetV2((128, 128, 3), alpha=1.0, include_top=False, weights=None)
    file = tmp_path / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_128_no_top.h5"
    write_hdf5(file, source)
    settings = {"weights": "imagenet", "alpha": 1.0, "weights_folder": str(tmp_path)}
    whole = file.read_bytes()
    file.write_bytes(b"<html>please log in</html>")
    with pytest.raises(BadInput, match="is not an HDF5 file of weights; download it again"):
        family(model(**settings, weights_sha256=sha256(file)), 128).build()
    file.write_bytes(whole)
    with pytest.raises(BadInput, match="weights_sha256"):  # Keras knows no checksum of this one
        family(model(**settings), 128).build()
    made = family(model(**settings, weights_sha256=sha256(file)), 128).build()
    assert np.array_equal(np.asarray(source.variables[0]), np.asarray(made.variables[0]))


def test_segmentation_models_takes_its_encoders_from_the_folder_too(tmp_path, monkeypatch):
    for encoder, start in (("mobilenetv2", "mobilenet_v2_weights"), ("resnet18", "resnet18_imagenet_1000_no_top")):
        settings = schema.model_settings(
            name="segmentation_unet", encoder=encoder, weights="imagenet", weights_folder=str(tmp_path)
        )
        with pytest.raises(EnvironmentFailure, match=rf"{tmp_path}/{start}.*h5: is missing; download http"):
            family(settings, 64).build()
    source = keras.applications.MobileNetV2((96, 96, 3), include_top=False, weights=None)
    file = tmp_path / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
    write_hdf5(file, source)
    settings = schema.model_settings(
        name="segmentation_unet", weights="imagenet", weights_folder=str(tmp_path), weights_sha256=sha256(file)
    )
    unet = next(layer for layer in family(settings, 96).build().layers if isinstance(layer, keras.Model))
    assert np.array_equal(unet.get_layer("Conv1").get_weights()[0], source.get_layer("Conv1").get_weights()[0])


def test_a_download_without_a_known_checksum_is_named_or_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(pretrained.FOLDER_VARIABLE, raising=False)
    file = tmp_path / "downloaded.h5"
    write_hdf5(file, keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None))
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: str(file))
    family(model(weights="imagenet"), 64).build()
    assert f"model.weights_sha256={sha256(file)}" in capsys.readouterr().err
    with pytest.raises(BadInput, match="download it again"):
        family(model(weights="imagenet", weights_sha256="0" * 64), 64).build()


def test_keras_cv_s_backbone_starts_ours_and_another_file_is_refused(tmp_path):
    import keras_cv

    channels, depths, _ = SIZES["xs"]
    source = keras_cv.models.YOLOV8Backbone(
        stackwise_channels=list(channels),
        stackwise_depth=list(depths),
        include_rescaling=True,
        input_shape=(64, 64, 3),
    )
    file = tmp_path / "yolo.weights.h5"
    source.save_weights(file)
    settings = model(name="yolov8", weights=str(file), weights_sha256=sha256(file))
    backbone = family(settings, 64).build().get_layer(BACKBONE)
    assert all(np.array_equal(a, b) for a, b in zip(source.get_weights(), backbone.get_weights(), strict=True))
    write_hdf5(file, keras.applications.MobileNetV2((64, 64, 3), include_top=False, weights=None))
    with pytest.raises(BadInput, match="another network than backbone"):
        family(model(name="yolov8", weights=str(file), weights_sha256=sha256(file)), 64).build()


@pytest.mark.parametrize(
    ("classifier", "localizer"),
    [("mobilenet", "mobilenet_unet"), ("mobilenetv2", "segmentation_unet"), ("mobilenetv2", "box_regressor")],
)
def test_a_classifier_s_backbone_starts_a_localizer(tmp_path, classifier, localizer):
    keras.utils.set_random_seed(5)
    first = family(model(name=classifier, alpha=1.0), 64).build()
    checksum = checkpoint.write_weights(tmp_path / "weights.safetensors", first.variables)
    (tmp_path / "done.json").write_text(json.dumps({"weights_sha256": checksum}))
    settings = schema.model_settings(name=localizer, weights=str(tmp_path / "weights.safetensors"))
    started, fresh = (family(each, 64).build() for each in (settings, schema.model_settings(name=localizer)))
    learned = {layer.name: layer.get_weights() for layer in weighted(first)}
    layers = {layer.name: layer for layer in weighted(started)}
    shared = [name for name in learned if name in layers and name != "logits"]
    assert len(shared) > 50
    for name in shared:
        assert all(np.array_equal(a, b) for a, b in zip(learned[name], layers[name].get_weights(), strict=True))
    assert not np.array_equal(started.get_weights()[0], fresh.get_weights()[0])


def weighted(network: keras.Model) -> list[keras.layers.Layer]:
    """Every layer with weights of its own, those of nested models too."""
    return [layer for layer in all_layers(network) if layer.weights]


def test_a_run_of_ours_starts_another_of_the_same_backbone(tmp_path):
    keras.utils.set_random_seed(1)
    first = family(model(head="classes"), 64).build()
    file = tmp_path / "weights.safetensors"
    checksum = checkpoint.write_weights(file, first.variables)
    with pytest.raises(BadInput, match="has no known checksum"):
        family(model(weights=str(file)), 64).build()
    (tmp_path / "done.json").write_text(json.dumps({"weights_sha256": checksum}))
    second = family(model(weights=str(file)), 64).build()
    assert np.array_equal(np.asarray(first.variables[0]), np.asarray(second.variables[0]))
    assert second.output["logits"].shape == (None, 1)
    with pytest.raises(BadInput, match="another network"):
        family(model(name="mobilenet", weights=str(file)), 64).build()


def test_a_file_that_lacks_a_layer_is_refused(chexnet, tmp_path):
    """Keras itself leaves such a layer as it was."""
    source = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None)
    file = tmp_path / "half.weights.h5"
    source.save_weights(file)
    with h5py.File(file, "r+") as stream:
        del stream["layers/conv2d/vars"]
        stream.create_group("layers/conv2d/vars")
    with pytest.raises(BadInput, match="another network"):
        family(model(weights=str(file), weights_sha256=sha256(file)), 64).build()


def test_a_file_of_something_else_is_refused(tmp_path):
    file = tmp_path / "weights.h5"
    file.write_bytes(b"no HDF5")
    with pytest.raises(BadInput, match="another network"):
        family(model(weights=str(file), weights_sha256=sha256(file)), 64).build()


def test_a_finished_run_needs_no_pretrained_file():
    family(model(name="chexnet", weights="chexnet"), 64, pretrained=False)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_with_a_published_checksum_of_either_kind(tmp_path, algorithm):
    """ConvNeXt's are SHA-256, the others' MD5."""
    file = tmp_path / "weights.h5"
    file.write_bytes(b"weights")
    published = hashlib.new(algorithm, b"weights").hexdigest()
    pretrained.check_known(file, published)
    file.write_bytes(b"weight")
    with pytest.raises(BadInput, match=rf"not {published} as published: it is damaged or another; download it again"):
        pretrained.check_known(file, published)


def test_a_damaged_file_in_the_folder_is_not_offered_to_be_trusted(tmp_path):
    file = tmp_path / "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
    write_hdf5(file, densenet())
    settings = {"name": "densenet121", "weights": "imagenet", "weights_folder": str(tmp_path)}
    with pytest.raises(BadInput, match=r"notop\.h5: its checksum is .*damaged or another; download it again"):
        family(model(**settings), 64).build()
    family(model(**settings, weights_sha256=sha256(file)), 64).build()  # a file of one's own
