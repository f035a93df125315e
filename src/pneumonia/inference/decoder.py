"""Choose a decoder's settings after training, on the inner images: a mask's threshold, for example."""

from collections.abc import Hashable, Mapping

import keras
import numpy as np

from pneumonia import schema
from pneumonia.boxes.predictions import Detections
from pneumonia.data.samples import Samples
from pneumonia.inference.predict import passes
from pneumonia.metrics.intervals import difference_interval, people_of
from pneumonia.metrics.iou_map import Truth, image_scores, sweep
from pneumonia.models.family import Family
from pneumonia.system.progress import say

MIN_POSITIVES = 20  # inner images with a finding that are needed to choose


def fit_decoder(
    network: keras.Model,
    family: Family,
    experiment: schema.Experiment,
    inner: Samples | None,
    people: Mapping[str, Hashable],
    title: str,
) -> dict:
    """Return the settings among `family.decoders()` that score best on the inner images, each at its best threshold.

    The family's defaults stay if too few inner images have a finding, or if the gain's 95 % interval over people
    includes zero. The held-out fold is not used.

    Args:
        inner: images of people that the network was not trained on.
        people: {patientId: person}.

    Returns:
        Settings of `model`; empty if the defaults stay.
    """
    choices = family.decoders()
    if not choices or inner is None or inner.positive.sum() < MIN_POSITIVES:
        return {}
    tables = decode_images(network, [family.with_decoder(choice) for choice in choices], inner, experiment)
    truth = Truth.from_lists(inner.ids, inner.boxes)
    scores = [image_scores(truth, table, sweep(truth, table).best()[0]) for table in tables]
    means = [np.nanmean(of_images) for of_images in scores]
    best = int(np.argmax(means))
    gain = difference_interval(scores[best], scores[0], people_of(inner.ids, people), seed=experiment.seed)
    if not gain.low > 0:
        return {}
    changes = ", ".join(f"{key} {value:g}" for key, value in choices[best].items())
    say(f"{title}: decoder uses {changes}: score {means[best]:.3f}, was {means[0]:.3f}, on {len(inner)} inner images")
    return choices[best]


def decode_images(
    network: keras.Model, families: list[Family], inner: Samples, experiment: schema.Experiment
) -> list[Detections]:
    """Return the boxes of each family's decoder from the same outputs, in pixels of the model's square."""
    decoded: list[list] = [[] for _ in families]
    for start in range(0, len(inner), experiment.batch_size):
        rows = range(start, min(start + experiment.batch_size, len(inner)))
        batch = np.stack([inner.images[row] for row in rows])[..., None]
        for outputs in passes(network.predict_on_batch, batch, experiment.batch_size):
            for family, images in zip(families, decoded):
                images.extend(family.decode(outputs))
    tables = [Detections.from_lists(inner.ids, *zip(*images)) for images in decoded]
    return [table.keep(table.scores >= experiment.min_score) for table in tables]
