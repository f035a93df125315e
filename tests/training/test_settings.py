"""Settings that would do nothing are refused, each in one line, before any data is read."""

import pytest

from pneumonia import config, schema
from pneumonia.commands import train as pipeline
from pneumonia.system.errors import BadInput
from pneumonia.training.settings import check_experiment

HARD = ("sampling.hard_negatives=0.5", "sampling.hard_from=mobilenetv2", "sampling.positives=0.5")
UNUSED = [
    ("mobilenetv2", ("sampling.hard_from=cnn",), "sampling.hard_from: has no effect without sampling.hard_negatives"),
    ("mobilenetv2", (HARD[0], HARD[2]), "sampling.hard_negatives: needs an experiment whose false"),
    ("mobilenetv2", HARD[:2], "sampling.hard_negatives: needs positives and neg"),
    ("mobilenetv2", (*HARD[:2], "sampling.positives=1.0"), "sampling.hard_negatives: needs positives and neg"),
    ("mobilenetv2", ("loss.gamma=3.0",), "loss.gamma: is for focal; cross_entropy does not use it"),
    ("mobilenetv2", ("schedule.patience=3",), "schedule.patience: the cosine schedule does not use it; set it to 10, "),
    ("mobilenetv2", ("schedule.factor=0.5",), "schedule.factor: the cosine schedule does not use it; set it to 0.1, "),
    ("report/cnn", ("schedule.final=0.5",), "schedule.final: the constant schedule does not use it"),
    ("mobilenetv2", ("schedule.name=plateau", "schedule.warmup=0.3"), "schedule.warmup: the plateau schedule does not"),
    ("yolov8_xs", ("model.image_maps=pyramid",), "model.image_maps: has no effect; set model.image_loss above 0"),
    ("yolov8_xs", ("model.dropout=0.5",), "model.dropout: has no effect; set model.image_loss above 0"),
    ("retinanet_lite0", ("model.anchor_scale=6",), "model.anchor_scale: has no effect; give model.anchor_ratios too"),
    (
        "retinanet_lite0",
        ("model.anchor_ratios=[1.0]",),
        "model.anchor_ratios: has 1 numbers; write 3, or []",
    ),
    (
        "unet_lite0",
        ("model.decoder=[96,64]",),
        "model.decoder: has 2 numbers; write three, for the strides 16",
    ),
    ("report/fcnn", ("model.weights=imagenet",), "unknown setting 'model.weights' of fcnn"),
    ("report/fcnn", ("model.frozen_epochs=1",), "unknown setting 'model.frozen_epochs' of fcnn"),
    ("report/cnn", ("model.weights=run:report/cnn",), "unknown setting 'model.weights' of cnn"),
    ("report/cnn", ("model.frozen_epochs=-1",), "unknown setting 'model.frozen_epochs' of cnn"),
]


@pytest.mark.parametrize(("name", "words", "says"), UNUSED)
def test_a_setting_that_would_do_nothing_is_refused_before_data_is_read(monkeypatch, name, words, says):
    monkeypatch.setattr(pipeline, "prepare", lambda *_: pytest.fail("it read the data"))
    with pytest.raises(BadInput) as caught:
        pipeline.train(config.from_arguments(schema.Train, [f"experiment={name}", "data=demo", "preset=smoke", *words]))
    assert says in str(caught.value) and len(caught.value.faults) == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mobilenetv2", HARD),
        ("mobilenetv2", ("loss.name=focal", "loss.gamma=3.0")),
        ("mobilenetv2", ("schedule.name=plateau", "schedule.patience=3", "schedule.factor=0.5", "schedule.final=0.1")),
        ("mobilenetv2", ("schedule.name=plateau", "schedule.warmup=0.0")),
        ("yolov8_xs", ("model.image_loss=0.5", "model.image_maps=pyramid", "model.dropout=0.5")),
        ("retinanet_lite0", ("model.anchor_ratios=[0.5,1,2]", "model.anchor_scale=6")),
        ("mobilenetv2", ("model.weights=imagenet", "model.frozen_epochs=-1")),
        ("mobilenetv2", ("schedule.patience=10", "loss.gamma=2.0", "sampling.hard_from=")),  # the defaults, spelt out
    ],
)
def test_the_same_settings_are_taken_where_they_do_something(name, words):
    settings = config.from_arguments(schema.Train, [f"experiment={name}", "data=demo", "preset=smoke", *words])
    check_experiment(config.experiment_of(settings))


def test_every_setting_that_does_nothing_is_told_at_once():
    changes = {"schedule": {"patience": 3, "factor": 0.5}, "loss": {"gamma": 1.0}, "sampling": {"hard_negatives": 0.2}}
    with pytest.raises(BadInput) as caught:
        check_experiment(config.read_experiment("mobilenetv2", "smoke", changes))
    assert len(caught.value.faults) == 5
