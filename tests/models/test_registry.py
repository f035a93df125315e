"""The schema's lists, which are free of Keras, are those of the code that they stand for."""

import keras
import pytest

from pneumonia import schema
from pneumonia.data.labels import HEADS
from pneumonia.data.person_features import PERSON_FEATURES
from pneumonia.jobs.executors import EXECUTORS
from pneumonia.models import mask_losses, registry, segmentation_unet
from pneumonia.models.backbones import constructors
from pneumonia.models.family import Family
from pneumonia.models.yolo import losses, network
from pneumonia.schema import commands, models, relations
from pneumonia.system.errors import BadInput
from pneumonia.training import schedules


def choices(kind, name):
    return kind.__dataclass_fields__[name].metadata["allowed"].choices


def test_backbones_are_keras_applications_own():
    assert set(models.KERAS_APPLICATIONS) == set(constructors())


def test_encoders_are_those_whose_input_range_is_known():
    assert set(models.ENCODERS) == set(segmentation_unet.RANGE_OF_ENCODER)
    segmentation_unet.import_segmentation_models()
    from segmentation_models.backbones.backbones_factory import Backbones

    assert set(models.ENCODERS) <= set(Backbones.models_names())


@pytest.mark.parametrize("name", models.FAMILIES)
def test_every_family_has_settings_and_code(name):
    model = schema.model_settings(name)
    assert isinstance(registry.family(model, 64), Family)


def test_choices_are_what_the_code_knows():
    assert set(choices(models.PlainClassifier, "head")) == set(HEADS)
    assert choices(models.PlainClassifier, "inputs") == PERSON_FEATURES
    assert set(choices(models.Masks, "mask_losses")) == set(mask_losses.LOSSES)
    assert set(choices(models.YOLOv8, "size")) == set(network.SIZES)
    assert set(choices(models.YOLOv8, "class_loss")) == set(losses.CLASS_LOSSES)
    assert set(choices(schema.Optimizer, "name")) == set(schedules.OPTIMIZERS)
    assert set(commands.EXECUTORS) == set(EXECUTORS)


@pytest.mark.parametrize("name", sorted(relations.SMALLEST_SIZES))
def test_the_smallest_sizes_are_keras_applications_own(name):
    smallest = relations.SMALLEST_SIZES[name]
    with pytest.raises(ValueError, match=str(smallest)):
        constructors()[name](weights=None, include_top=False, input_shape=(smallest - 1, smallest - 1, 3))
    with pytest.raises(BadInput, match=f"too small for {name}; choose {smallest} or more"):
        relations.check_network(schema.model_settings(name), smallest - 1, schema.Loss())
    relations.check_network(schema.model_settings(name), smallest, schema.Loss())


@pytest.mark.parametrize("name", sorted(relations.WIDTHS))
def test_widths_of_imagenet_s_weights_are_keras_applications_own(name, monkeypatch):
    """Keras refuses a width before it downloads anything."""
    wrong = 0.6
    with pytest.raises(ValueError, match="alpha"):
        constructors()[name](weights="imagenet", include_top=False, alpha=wrong, input_shape=(224, 224, 3))
    with pytest.raises(BadInput, match=r"model\.alpha: there are no imagenet weights at 0\.6"):
        relations.check_network(schema.model_settings(name, weights="imagenet", alpha=wrong), 224, schema.Loss())
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda *_, **__: (_ for _ in ()).throw(OSError("net")))
    for alpha in relations.WIDTHS[name]:
        relations.check_network(schema.model_settings(name, weights="imagenet", alpha=alpha), 224, schema.Loss())


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"name": "yolov8", "weights": "imagenet"}, "no imagenet weights for the own backbone of yolov8"),
        ({"name": "mobilenetv2", "weights": "chexnet"}, "no chexnet weights for mobilenetv2"),
        ({"name": "mobilenet_unet", "mask_losses": {"dice": 0}}, "no loss has a weight"),
        ({"name": "densenet121", "head": "nih", "cell_loss": 1.0}, "nih takes neither"),
        ({"name": "inceptionv3", "cell_loss": 1.0}, "no feature map"),
        ({"name": "mobilenetv2", "weights": ""}, "model.weights: is empty"),
    ],
)
def test_a_network_that_cannot_be_is_refused_without_keras(model, says):
    with pytest.raises(BadInput, match=says):
        relations.check_network(schema.model_settings(**model), 128, schema.Loss())


@pytest.mark.parametrize("name", ["chexnet", "densenet121"])
def test_chexnet_s_weights_are_a_densenet121_s(name):
    relations.check_network(schema.model_settings(name, weights="chexnet"), 224, schema.Loss())
