"""Decoders without Keras: the same as the families', from a process that has no Keras."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pneumonia import schema
from pneumonia.decoding.registry import decoder_of
from pneumonia.models.registry import family
from pneumonia.models.retinanet import losses
from pneumonia.models.yolo.network import expected_distances
from pneumonia.schema.models import FAMILIES, Entry
from pneumonia.system.errors import BadInput

SIZE = 64
SOURCE = Path(__file__).resolve().parents[2] / "src"


def settings(name, **changes):
    with_image = {"image_loss": 0.5} if name in ("unet", "yolov8", "retinanet") else {}
    return schema.model_settings(name=name, **(with_image | changes))


@pytest.mark.parametrize("name", [*FAMILIES, "mobilenetv2"])
def test_a_decoder_gives_what_its_family_gives(name):
    model = settings(name)
    of_family, decoder = family(model, SIZE), decoder_of(model, SIZE)
    random = np.random.default_rng(0)
    outputs = {
        key: (3 * random.normal(size=(3, *value.shape[1:]))).astype(np.float32)
        for key, value in of_family.build().output.items()
    }
    assert type(decoder).__module__.startswith("pneumonia.decoding.") and decoder.kind == of_family.kind
    assert decoder.person_inputs == of_family.person_inputs and decoder.decoders() == of_family.decoders()
    np.testing.assert_equal(decoder.decode(outputs), of_family.decode(outputs))
    classes = decoder.decode_classes(outputs)
    np.testing.assert_equal(classes, of_family.decode_classes(outputs))
    assert (classes is not None) == ("image_logits" in outputs)


def test_boxes_are_those_that_the_losses_are_computed_of():
    """Losses compute in Keras, decoders in NumPy."""
    random = np.random.default_rng(1)
    distances = (3 * random.normal(size=(1, 84, 64))).astype(np.float32)
    yolo, rows = decoder_of(settings("yolov8"), SIZE), np.array([3, 70, 83])
    corners = yolo.corners({"distances": distances}, 0, rows)
    sides = np.asarray(expected_distances(distances))[0, rows] * np.array([8, 16, 32])[:, None]
    np.testing.assert_allclose(corners[:, 2:] - corners[:, :2], sides[:, :2] + sides[:, 2:], rtol=1e-5)
    retinanet = decoder_of(settings("retinanet"), SIZE)
    offsets = (3 * random.normal(size=(1, len(retinanet.anchors), 4))).astype(np.float32)
    corners = retinanet.corners({"offsets": offsets}, 0, rows)
    np.testing.assert_allclose(
        corners, np.asarray(losses.decode(offsets[0, rows], retinanet.anchors[rows])), rtol=1e-5, atol=1e-3
    )


def test_a_family_without_a_decoder_of_its_own(monkeypatch):
    monkeypatch.setitem(FAMILIES, "yolov8", Entry(FAMILIES["yolov8"].settings, FAMILIES["yolov8"].code))
    with pytest.raises(BadInput, match=r"yolov8 has no decoder of its own; name its decoder in FAMILIES"):
        decoder_of(settings("yolov8"), SIZE)


def test_no_decoder_imports_keras():
    names = sorted({entry.decoder for entry in FAMILIES.values()})
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    module, of_family = name.split(':')\n"
        "    getattr(importlib.import_module(module), of_family)\n"
        "print([name for name in ('keras', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
