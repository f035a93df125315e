"""Classifiers beyond the contract: heads, poolings, the person beside the image, losses."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops
from sklearn.metrics import log_loss

from pneumonia import config, schema
from pneumonia.data.person_features import model_input, person_features_of
from pneumonia.models.classifier_losses import balanced_weights, cross_entropy_of_classes, cross_entropy_of_labels
from pneumonia.models.registry import family
from pneumonia.reports.grad_cam import gradient
from pneumonia.system.errors import BadInput
from pneumonia.training.settings import check_experiment

SIZE = 64
LOGITS = np.array([[2.0], [-1.0], [0.5], [-3.0]], np.float32)
LABELS = np.array([[1.0], [0.0], [0.0], [1.0]], np.float32)


def build(name="mobilenetv2", **settings):
    small = {"alpha": 0.35} if name == "mobilenetv2" else {}
    of_name = family(schema.model_settings(name, **(small | settings)), SIZE)
    return of_name, of_name.build()


@pytest.mark.parametrize(("head", "outputs"), [("binary", 1), ("classes", 3), ("nih", 14)])
@pytest.mark.parametrize("pooling", ["average", "max", "both"])
def test_every_head_and_pooling(head, outputs, pooling):
    _, network = build(head=head, pooling=pooling)
    assert network.output["logits"].shape == (None, outputs)


@pytest.mark.parametrize("name", ["resnet50v2", "efficientnetv2b0", "mobilenetv3small"])
def test_any_backbone_of_keras_applications(name):
    of_name, network = build(name=name)
    gray = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 1), dtype=np.uint8)
    decoded = of_name.decode({key: np.asarray(value) for key, value in network(gray).items()})
    assert decoded.shape == (2, 1) and np.isfinite(decoded).all()


@pytest.mark.parametrize(
    ("setting", "match"),
    [({"name": "mobilenetv22"}, "mobilenetv2"), ({"pooling": "median"}, "both"), ({"inputs": ["height"]}, "view")],
)
def test_unknown_settings_list_the_known_ones(setting, match):
    with pytest.raises(BadInput, match=match):
        build(**setting)


def test_age_sex_and_view_change_the_answer_and_only_where_asked_for():
    table = pd.DataFrame({"age": [60.0, np.nan, 155.0], "sex": ["F", "M", ""], "view": ["AP", "PA", None]})
    person_features = person_features_of(table)
    assert person_features.tolist() == [
        pytest.approx([0.6, 1, 0, 1, 1, 0]),
        [0, 0, 1, 0, 0, 1],
        [0, 0, 0, 0, 0, 0],  # nobody is 155 years old
    ]
    gray = np.zeros((3, SIZE, SIZE, 1), np.uint8)
    of_name, network = build(inputs=["view", "age"])
    given = model_input(gray, person_features, of_name.person_inputs)
    assert given["person"].tolist()[0] == pytest.approx([1, 0, 0.6, 1])
    logits = np.asarray(network(given)["logits"])
    assert logits[0] != logits[1]
    of_name, _ = build()
    assert model_input(gray, person_features, of_name.person_inputs) is gray


def test_cross_entropy_is_scikit_learns():
    probabilities = 1 / (1 + np.exp(-LOGITS.astype(float)))
    mine = float(cross_entropy_of_labels(LOGITS, LABELS, schema.Loss()))
    assert mine == pytest.approx(log_loss(LABELS[:, 0], probabilities[:, 0]), abs=1e-6)
    classes = np.array([0, 2, 1])
    logits = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    mine = float(cross_entropy_of_classes(logits, classes, schema.Loss()))
    assert mine == pytest.approx(log_loss(classes, softmax, labels=[0, 1, 2]), abs=1e-6)


def test_focal_loss_fades_the_easy_images():
    def of(logit, **loss):
        return float(
            cross_entropy_of_labels(np.array([[logit]], np.float32), np.ones((1, 1), np.float32), schema.Loss(**loss))
        )

    for logit in (4.0, -1.0):
        p = 1 / (1 + np.exp(-logit))
        assert of(logit, name="focal", gamma=2.0) == pytest.approx((1 - p) ** 2 * -np.log(p), rel=1e-4)
    assert of(1.0, name="focal", gamma=0.0) == pytest.approx(of(1.0), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_has_gradients_however_sure_the_network_is(gamma):
    loss = schema.Loss(name="focal", gamma=gamma)
    labels = ops.convert_to_tensor(np.array([[1.0], [0.0], [1.0], [0.0]], np.float32))
    sure = ops.convert_to_tensor(np.array([[120.0], [120.0], [-120.0], [-120.0]], np.float32))
    slope = ops.convert_to_numpy(gradient(lambda logits: cross_entropy_of_labels(logits, labels, loss), sure))
    assert slope[:, 0] == pytest.approx([0, 0.25, -0.25, 0], abs=1e-6)
    classes = ops.convert_to_tensor(np.array([0, 1, 0, 2], np.int32))
    of_classes = ops.convert_to_tensor(
        np.array([[120.0, 0, 0], [120, 0, 0], [-120, 0, 0], [-120, 120, -120]], np.float32)
    )
    slope = ops.convert_to_numpy(gradient(lambda logits: cross_entropy_of_classes(logits, classes, loss), of_classes))
    wanted = [[0, 0, 0], [0.25, -0.25, 0], [-0.25, 0.125, 0.125], [0, 0.25, -0.25]]
    np.testing.assert_allclose(slope, wanted, atol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_of_classes_is_its_formula(gamma):
    logits, classes = np.random.default_rng(1).normal(0, 3, (6, 3)).astype(np.float32), np.array([0, 1, 2, 0, 1, 2])
    exponents = np.exp(logits.astype(float))
    p = (exponents / exponents.sum(axis=1, keepdims=True))[np.arange(6), classes]
    mine = float(cross_entropy_of_classes(logits, classes, schema.Loss(name="focal", gamma=gamma)))
    assert mine == pytest.approx(np.mean((1 - p) ** gamma * -np.log(p)), rel=1e-5)


def test_class_weights_and_smoothing():
    plain = float(cross_entropy_of_labels(LOGITS, LABELS, schema.Loss()))
    weighted = float(cross_entropy_of_labels(LOGITS, LABELS, schema.Loss(class_weights=[1.0, 3.0])))
    positives = float(cross_entropy_of_labels(LOGITS[[0, 3]], LABELS[[0, 3]], schema.Loss()))
    assert weighted == pytest.approx(plain + 2 * positives / 2, rel=1e-5)
    smooth = float(cross_entropy_of_labels(np.array([[9.0]]), np.array([[1.0]]), schema.Loss(label_smoothing=0.1)))
    assert smooth == pytest.approx(0.05 * 9, abs=1e-3)


def test_balanced_weights_give_every_class_the_same_total():
    counts = np.array([5, 3, 2])
    assert counts * balanced_weights(np.repeat([0, 1, 2], counts), 3) == pytest.approx([10 / 3] * 3)
    assert balanced_weights(np.repeat([0, 2], [6, 2]), 3) == pytest.approx([8 / 12, 1, 2])


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "hinge"},
        {"label_smoothing": 1.0},
        *({"class_weights": each} for each in ([1, 2, 3], "even", [-1, 1], [np.inf, 1], [np.nan, 1], [0, 0])),
    ],
)
def test_losses_that_make_no_sense_are_refused(loss):
    with pytest.raises(BadInput, match="loss"):
        check_experiment(config.read_experiment("report/cnn", "smoke", {"loss": loss}))


def test_freezing_stops_a_backbone_and_lets_it_go():
    of_name, network = build()
    everything = len(network.trainable_variables)
    of_name.freeze(network, True)
    assert len(network.trainable_variables) == 2
    of_name.freeze(network, False)
    assert len(network.trainable_variables) == everything
    plain = family(schema.model_settings(name="fcnn"), SIZE)
    with pytest.raises(BadInput, match="no backbone"):
        plain.freeze(plain.build(), True)


def test_normalisation_is_what_the_pretrained_backbone_saw():
    """keras.applications' own preprocessing of a gray image, reached from uint8 without any caller scaling."""
    gray = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 1), dtype=np.uint8)
    colour = np.repeat(gray, 3, axis=-1).astype(np.float32)
    for name, module in (("densenet121", "densenet"), ("resnet50", "resnet50"), ("mobilenetv2", "mobilenet_v2")):
        _, network = build(name=name)
        layer = network.get_layer("normalised")
        seen = np.asarray(layer(np.repeat(gray, 3, axis=-1)))
        wanted = getattr(keras.applications, module).preprocess_input(colour.copy())
        np.testing.assert_allclose(seen, wanted, atol=1e-4)
