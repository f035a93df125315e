"""A finished run's network, ready to predict."""

import dataclasses

from pneumonia.models.registry import family as family_of
from pneumonia.runs import checkpoint
from pneumonia.runs.precision import compute_policy
from pneumonia.runs.run import Run, experiment_of


def network_of(run: Run):
    """Build a finished run's network with its weights; returns network, family and experiment, all for one device."""
    experiment = dataclasses.replace(experiment_of(run), devices=1)
    family = family_of(experiment.model, experiment.image_size, pretrained=False)
    with compute_policy(experiment):
        network = family.build()
    result = run.done()
    checkpoint.read_weights(run.weights, network.variables, result["weights_sha256"])
    return network, family.with_decoder(result.get("decoder", {})), experiment
