"""What is tracked of a training: means over images, whatever the batches."""

import numpy as np
import pytest

from pneumonia import schema
from pneumonia.data.person_features import N_PERSON_FEATURES
from pneumonia.data.samples import Samples
from pneumonia.models.registry import family
from pneumonia.training.learner import compile_learner
from pneumonia.training.loop import Stage, evaluate_inner

SIZE = 32


def samples(count: int) -> Samples:
    """The last image alone has an opacity."""
    rng = np.random.default_rng(0)
    classes = np.where(np.arange(count) == count - 1, 2, 0)
    images = rng.integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)
    boxes = [np.array([[4.0, 4, 8, 8]]) if each else np.empty((0, 4)) for each in classes]
    return Samples(
        np.arange(count).astype(str), images, boxes, classes, rng.random((count, N_PERSON_FEATURES), dtype=np.float32)
    )


@pytest.mark.parametrize("settings", [{}, {"inputs": ["age"]}])
def test_a_smaller_last_batch_counts_by_its_images(settings):
    """Nine images in batches of eight, all of them called negative with a logit of -2."""
    experiment = schema.Experiment(model=schema.model_settings(name="fcnn", **settings), image_size=SIZE, batch_size=8)
    of_name, data = family(experiment.model, SIZE), samples(9)
    network = of_name.build()
    kernel, _ = network.layers[-1].get_weights()
    network.layers[-1].set_weights([0 * kernel, np.array([-2.0])])
    found = evaluate_inner(
        compile_learner(experiment, of_name, network, data, 1, Stage(0, 1, False)), experiment, of_name, data
    )
    loss = (8 * np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 9
    assert found == pytest.approx({"accuracy": 8 / 9, "cross_entropy": loss, "loss": loss}, rel=1e-5)
