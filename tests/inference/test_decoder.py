"""The decoder's settings are chosen on the inner images where those can say, and are what is predicted with."""

import keras
import numpy as np
import pytest

from pneumonia import schema
from pneumonia.boxes.predictions import read_detections
from pneumonia.commands import train_run as job
from pneumonia.data.competition import resolve
from pneumonia.data.prepared import prepare
from pneumonia.data.samples import Samples
from pneumonia.inference.decoder import fit_decoder
from pneumonia.inference.network import network_of
from pneumonia.models.unet import MobileNetUNet
from pneumonia.runs import checkpoint
from pneumonia.runs.run import Run

SIZE = 64
SMALL, LARGE = 4, 16  # pixels of a box's side; a small one's mask has fewer pixels than min_area by default
EXPERIMENT = schema.Experiment(batch_size=8, image_size=SIZE)


@pytest.fixture(scope="module")
def network():
    """Its mask is how bright the image is."""
    gray = keras.Input((SIZE, SIZE, 1))
    logits = keras.layers.Rescaling(8 / 255, -4)(keras.layers.AveragePooling2D(2)(gray))
    return keras.Model(gray, {"logits": logits})


def bright_squares(side: int, count: int) -> Samples:
    """Images with a bright square each, which is the true box, and as many without."""
    rng = np.random.default_rng(0)
    images = np.full((2 * count, SIZE, SIZE), 30, np.uint8)
    boxes = [np.empty((0, 4))] * (2 * count)
    for row in range(count):
        x, y = 2 * rng.integers(1, (SIZE - side) // 2, 2)
        images[row, y : y + side, x : x + side] = 230
        boxes[row] = np.array([[x, y, side, side]], dtype=np.float64)
    classes = np.repeat([2, 0], count)
    return Samples(np.array([f"image{row}" for row in range(2 * count)]), images, boxes, classes)


def fitted(network, inner, people=None, **settings):
    family = MobileNetUNet(schema.model_settings(name="mobilenet_unet", **settings), SIZE)
    people = people or {image: image for image in inner.ids}
    return fit_decoder(network, family, EXPERIMENT, inner, people, "here")


def test_a_smaller_area_is_chosen_where_findings_are_small(network, capsys):
    found = fitted(network, bright_squares(SMALL, 24))
    assert found["min_area"] < schema.model_settings("mobilenet_unet").min_area
    assert "min_area" in capsys.readouterr().err


def test_its_own_settings_stay_where_nothing_is_better(network):
    assert fitted(network, bright_squares(LARGE, 24)) == {}


def test_its_own_settings_stay_where_inner_images_are_too_few_to_say(network):
    assert fitted(network, bright_squares(SMALL, 8)) == {}
    assert fitted(network, bright_squares(LARGE, 0)) == {}


def test_its_own_settings_stay_where_they_were_asked_for(network):
    assert fitted(network, bright_squares(SMALL, 24), mask_fit=False) == {}


def test_a_run_is_predicted_with_what_was_fitted_then_and_later(tmp_path, monkeypatch):
    """The network has its first weights: all of an image is one component, and nothing is larger than an image."""
    experiment = schema.Experiment(model=schema.model_settings(name="mobilenet_unet"), image_size=32, tta=["identity"])
    settings = schema.Job(data="demo", preset="smoke", workers=1)
    data, found = prepare(settings, resolve(settings), [32]), []
    for name, decoder in (("own", {}), ("fitted", {"mask_threshold": 0.3, "min_area": 1.1})):
        run = Run(tmp_path / "runs" / "data" / name / "fold0")
        keras.utils.set_random_seed(0)
        checkpoint.write_weights(run.weights, MobileNetUNet(experiment.model, 32).build().variables)
        monkeypatch.setattr(job, "fit_decoder", lambda *_, decoder=decoder: decoder)
        job.train_run(run, experiment, data, name)
        found.append(len(read_detections(run.table("oof", "localizer")).scores))
    assert found[0] > 0 and found[1] == 0
    _, family, _ = network_of(run)
    assert (family.model.mask_threshold, family.model.min_area) == (0.3, 1.1)
