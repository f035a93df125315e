"""Settings of a decoder, chosen after training on the inner images: at which probability a mask is cut, for example."""

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

FEWEST_POSITIVES = 20  # inner images with a finding, below which nothing is fitted


def fit_decoder(
    network: keras.Model,
    family: Family,
    experiment: schema.Experiment,
    inner: Samples | None,
    people: Mapping[str, Hashable],
    title: str,
) -> dict:
    """The settings among `family.decoders()` that score best on the inner images, each at its own best threshold.

    The family's own stay where there are too few inner images with a finding to say, as on a small competition, or the
    gain's 95 % interval over people includes zero. The held-out fold is not looked at.

    Args:
        inner: images of people that the network was not trained on.
        people: {patientId: person}.

    Returns:
        Settings of `model`; empty where the family's own stay.
    """
    choices = family.decoders()
    if not choices or inner is None or inner.positive.sum() < FEWEST_POSITIVES:
        return {}
    tables = tables_of(network, [family.with_decoder(each) for each in choices], inner, experiment)
    truth = Truth.from_lists(inner.ids, inner.boxes)
    scores = [image_scores(truth, table, sweep(truth, table).best()[0]) for table in tables]
    means = [np.nanmean(each) for each in scores]
    best = int(np.argmax(means))
    gain = difference_interval(scores[best], scores[0], people_of(inner.ids, people), seed=experiment.seed)
    if not gain.low > 0:
        return {}
    shown = ", ".join(f"{key} {value:g}" for key, value in choices[best].items())
    say(f"{title}: {shown} in place of its own: {means[0]:.3f} becomes {means[best]:.3f} on {len(inner)} inner images")
    return choices[best]


def tables_of(
    network: keras.Model, families: list[Family], inner: Samples, experiment: schema.Experiment
) -> list[Detections]:
    """What each family's decoder makes of the same outputs; boxes in pixels of the model's square."""
    found: list[list] = [[] for _ in families]
    for start in range(0, len(inner), experiment.batch_size):
        rows = range(start, min(start + experiment.batch_size, len(inner)))
        batch = np.stack([inner.images[row] for row in rows])[..., None]
        for outputs in passes(network, batch, experiment.batch_size):
            for family, own in zip(families, found):
                own.extend(family.decode(outputs))
    tables = [Detections.from_lists(inner.ids, *zip(*own)) for own in found]
    return [table.keep(table.scores >= experiment.min_score) for table in tables]
