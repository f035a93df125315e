"""Which family converts to which format: each network, with random weights, is exported and compared with itself.

    PYTHONPATH=src .venv/bin/python benchmarks/export_families.py [families=[yolov8,unet]] [formats=[onnx]] [size=64]

Prints a line per family and format: the largest differences on four pictures of noise, or why it does not convert.
"""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pneumonia.system.switches import set_switches

set_switches()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from pneumonia import config, schema  # noqa: E402
from pneumonia.commands.export_network import TARGETS, convert, largest_difference, outputs_of  # noqa: E402
from pneumonia.models.registry import family as family_of  # noqa: E402
from pneumonia.schema.models import FAMILIES  # noqa: E402
from pneumonia.system.errors import EnvironmentFailure  # noqa: E402


@dataclass
class Settings:
    families: list[str] = field(default_factory=lambda: [*FAMILIES, "densenet121", "mobilenetv2", "efficientnetlite0"])
    formats: list[str] = field(default_factory=lambda: [*TARGETS])
    size: int = 64


def difference(family, network: keras.Model, name: str, size: int) -> str:
    """Return what the exported network does differently, as a text."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, size, size, 1)).astype(np.uint8)
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / target.file
        try:
            convert(network, file, target.keras_name, size)
        except EnvironmentFailure as error:
            return str(error)
        found = largest_difference(family, outputs_of(network)(pictures), target.open(file)(pictures))
    return ", ".join(f"{key} {value:.6f}" for key, value in found.items())


def main(settings: Settings) -> None:
    for name in settings.families:
        keras.utils.set_random_seed(0)
        with_image = {"image_loss": 0.5} if name in ("unet", "yolov8", "retinanet") else {}
        family = family_of(schema.model_settings(name=name, **with_image), settings.size)
        network = family.build()
        for target in settings.formats:
            print(f"{name}, {target}: {difference(family, network, target, settings.size)}", flush=True)


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
