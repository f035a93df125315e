"""Multiply-adds that training an ensemble takes, calculated from its networks; nothing is trained (docs/scale.md).

    PYTHONPATH=src .venv/bin/python benchmarks/ensemble_cost.py ensemble=small [preset=full] [images=26684] [rate=20]

A training step is counted as three passes (forward, to the activations, to the weights), as if no layer were frozen. An
inner split, predictions and everything that is not a convolution or a dense layer come on top: small on a GPU where the
input keeps up. rate: trillion multiply-adds that the device achieves in a second (half of its TFLOP/s), which for small
networks is far below its peak; 20 is an assumption, not a measurement.
"""

import sys
from dataclasses import dataclass

from classifier_throughput import PASSES, multiply_adds
from pneumonia import config
from pneumonia.models.registry import family
from pneumonia.schema import setting
from pneumonia.system.switches import set_switches
from scale import images_trained


@dataclass
class Settings:
    ensemble: str = setting("small", "experiments/ensembles/NAME.yaml")
    preset: str = setting("full", "of its members")
    images: int = setting(26_684, "training images of all folds", low=1)
    n_folds: int = setting(5, "of the fold table", low=2)
    rate: float = setting(20.0, "trillion multiply-adds a second", above=0)


def main(settings: Settings) -> None:
    set_switches()
    training, total = settings.images * (1 - 1 / settings.n_folds), 0.0
    print(f"| {settings.ensemble}, `{settings.preset}` | px | epochs | billion multiply-adds a pass | "
          "10^15 multiply-adds a fold |\n|---|---|---|---|---|")  # fmt: skip
    for name in config.read_ensemble(settings.ensemble)["members"]:
        experiment = config.read_experiment(name, settings.preset)
        adds = multiply_adds(family(experiment.model, experiment.image_size, pretrained=False).build())
        fold = PASSES["loaded"] * adds * images_trained(experiment, training)
        total += fold
        print(f"| `{name}` | {experiment.image_size} | {experiment.epochs} | {adds / 1e9:.1f} | {fold / 1e15:,.1f} |")
    hours = settings.n_folds * total / settings.rate / 1e12 / 3600
    print(f"| a fold | | | | {total / 1e15:,.0f} |\n")
    print(f"{settings.n_folds} folds: {hours:.1f} device-hours at {settings.rate:g} trillion multiply-adds a second")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
