"""Grad-CAM of a network whose answer is known: it must point at what the answer depends on."""

import keras
import numpy as np
import pytest
from keras import ops

from pneumonia import schema
from pneumonia.data.person_features import N_PERSON_FEATURES, model_input
from pneumonia.models.registry import family
from pneumonia.reports.grad_cam import has_feature_map, heat_map

SIZE = 32


def bright_network() -> keras.Model:
    """Its feature map is the image at a quarter of its size, its logit the mean of it."""
    gray = keras.Input((SIZE, SIZE, 1), name="gray")
    features = keras.layers.AveragePooling2D(4)(keras.layers.Rescaling(1 / 255)(gray))
    pooled = keras.layers.GlobalAveragePooling2D(name="average")(features)
    logits = keras.layers.Dense(1, kernel_initializer="ones")(pooled)
    return keras.Model(gray, {"logits": logits})


def test_the_map_points_at_what_the_answer_depends_on():
    images = np.zeros((2, SIZE, SIZE, 1), np.uint8)
    images[0, 4:8, 20:24] = 200
    images[1, 24:28, 8:12] = 100
    heat = heat_map(bright_network(), images)
    assert heat.shape == (2, 8, 8) and heat.dtype == np.float32
    assert [np.unravel_index(each.argmax(), each.shape) for each in heat] == [(1, 5), (6, 2)]
    assert heat.max(axis=(1, 2)).tolist() == [1, 1] and (heat > 0).sum() == 2


def test_what_speaks_against_is_not_shown():
    network = bright_network()
    network.layers[-1].set_weights([-np.ones((1, 1)), np.zeros(1)])
    assert not heat_map(network, np.full((1, SIZE, SIZE, 1), 200, np.uint8)).any()


@pytest.mark.parametrize("settings", [{}, {"inputs": ["age", "view"]}, {"head": "classes", "cell_loss": 1.0}])
def test_our_classifiers_have_maps(settings):
    of_name = family(schema.model_settings(name="mobilenetv2", alpha=0.35, **settings), SIZE)
    network = of_name.build()
    images, person_features = np.zeros((2, SIZE, SIZE, 1), np.uint8), np.zeros((2, N_PERSON_FEATURES), np.float32)
    inputs = model_input(images, person_features, of_name.person_inputs)
    heat = heat_map(network, inputs)
    assert heat.shape == (2, 1, 1) and np.isfinite(heat).all()
    assert np.isfinite(ops.convert_to_numpy(network(inputs)["logits"])).all()


def test_a_network_without_a_feature_map_has_none():
    assert not has_feature_map(family(schema.model_settings(name="fcnn"), SIZE).build())
