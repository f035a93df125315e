"""Every file of experiments/ reads, builds, and learns one step at its smoke setting."""

import keras
import numpy as np
import pytest

from pneumonia import config, schema
from pneumonia.commands.weights import needs_package
from pneumonia.data.labels import NIH
from pneumonia.data.person_features import N_PERSON_FEATURES
from pneumonia.data.samples import Samples
from pneumonia.inference.tta import variants
from pneumonia.models.registry import family as family_of
from pneumonia.schema.models import settings_of
from pneumonia.schema.reading import dict_settings
from pneumonia.schema.relations import check_stopping
from pneumonia.training.batches import Batches
from pneumonia.training.learner import Learner
from pneumonia.training.schedules import optimizer_of

NAMES = config.experiment_names()


def samples(size: int, head: str) -> Samples:
    rng = np.random.default_rng(0)
    boxes = [np.array([[4.0, 4, size / 2, size / 3]]) if row % 2 else np.empty((0, 4)) for row in range(4)]
    classes = np.eye(len(NIH), dtype=np.float32)[:4] if head == "nih" else np.array([0, 2, 1, 2])
    images = rng.integers(0, 256, (4, size, size), dtype=np.uint8)
    return Samples(np.array(list("abcd")), images, boxes, classes, np.zeros((4, N_PERSON_FEATURES), np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_a_step_at_its_smoke_setting(name):
    experiment = config.read_experiment(name, "smoke")
    assert experiment.model.weights == "none", "smoke downloads nothing"
    keras.utils.set_random_seed(0)
    family = family_of(experiment.model, experiment.image_size, experiment.loss)
    network = family.build()
    check_stopping(experiment, has_inner=True)
    variants(experiment.tta)
    made = samples(experiment.image_size, experiment.model.head)
    inputs, targets = Batches(made, np.arange(4), 4, family, experiment.augment, [0, 0])[0]
    outputs = network(inputs)
    learner = Learner(network, family, [*family.losses(targets, outputs), *family.metrics(targets, outputs)])
    learner.compile(optimizer_of(experiment, 10), run_eagerly=True)
    before = [np.asarray(variable) for variable in network.trainable_variables]
    assert np.isfinite(learner.train_on_batch(inputs, targets, return_dict=True)["loss"])
    after = network.trainable_variables
    assert any(not np.array_equal(a, np.asarray(b)) for a, b in zip(before, after))


def values_of(tree: dict, prefix: str = "") -> dict:
    """{dotted name: value} of a tree of settings; a setting that is a dictionary is one value."""
    found = {}
    for key, value in tree.items():
        is_group = isinstance(value, dict) and prefix + key not in dict_settings(schema.Experiment)
        found |= values_of(value, f"{prefix}{key}.") if is_group else {prefix + key: value}
    return found


@pytest.mark.parametrize("preset", schema.PRESETS)
@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_what_the_files_say(name, preset):
    """From the weakest to the strongest: the schema's default, defaults.yaml, the experiment, the preset of either."""
    files = [config.read_yaml(config.EXPERIMENTS / f"{file}.yaml") for file in ("defaults", name)]
    presets = [(file.pop("presets", None) or {}).get(preset) or {} for file in files]
    written = {key: value for content in (*files, *presets) for key, value in values_of(content).items()}
    defaults = schema.Experiment(model=settings_of(written["model.name"])())
    expected = values_of(config.as_tree(defaults)) | written
    assert values_of(config.as_tree(config.read_experiment(name, preset))) == expected
    model = config.read_experiment(name, preset).model
    assert preset == "full" or model.weights == "none" or needs_package(model), "only `full` downloads"


@pytest.mark.parametrize("name", config.ensemble_names())
def test_an_ensemble_has_a_gate_and_localizers(name):
    experiments = [config.read_experiment(name, "smoke") for name in config.read_ensemble(name)["members"]]
    families = [family_of(experiment.model, experiment.image_size) for experiment in experiments]
    assert sum(family.kind == "localizer" for family in families) >= 2
    assert any(family.kind == "classifier" or family.has_image_output for family in families)


def test_the_demos_ensemble_downloads_nothing():
    members = config.read_ensemble("demo")["members"]
    assert {config.read_experiment(name, "quick").model.weights for name in members} == {"none"}
