"""A finished run's network, ready to predict."""

import dataclasses

from pneumonia import config, schema
from pneumonia.models.registry import family as family_of
from pneumonia.runs import checkpoint
from pneumonia.runs.precision import computing
from pneumonia.runs.run import Run


def network_of(run: Run):
    """A finished run's network with its weights, its family and its experiment; on one device, whatever trained it."""

    tree = config.read_yaml(run.folder / "config.yaml")
    tree.pop("identity")
    experiment = config.from_tree(schema.Experiment, tree, str(run.folder / "config.yaml"))
    experiment = dataclasses.replace(experiment, devices=1)
    family = family_of(experiment.model, experiment.image_size, pretrained=False)
    with computing(experiment):
        network = family.build()
    done = run.done()
    checkpoint.read_weights(run.weights, network.variables, done["weights_sha256"])
    return network, family.decoding_with(done.get("decoder", {})), experiment
