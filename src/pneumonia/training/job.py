"""`./run.sh train`: one experiment on one fold, from prepared data to weights and prediction tables."""

import time

import keras
import numpy as np
import pandas as pd

from pneumonia import schema
from pneumonia.data.cache import Cache
from pneumonia.data.prepared import Prepared
from pneumonia.data.samples import CachedImages, original_sizes, samples_of
from pneumonia.files import held
from pneumonia.inference.predict import predict
from pneumonia.models.family import Family
from pneumonia.models.registry import family as family_of
from pneumonia.predictions import write_classes, write_detections
from pneumonia.progress import say
from pneumonia.training import checkpoint, loop
from pneumonia.training.run import Run

WRITERS = {"classifier": write_classes, "localizer": write_detections}


def train_run(run: Run, experiment: schema.Experiment, data: Prepared, fold: int, title: str) -> None:
    """Train, predict the held-out fold, the holdout and the test images, and mark the run done.

    A run that was interrupted goes on where it stood; one that is done is left alone.

    Rows of the fold table that say `fold` are held out, `holdout` is predicted too, `removed` is not used at all.

    Raises:
        BadInput: the folder holds a run with other settings or data.
        BadSurroundings: another process holds the run, the disk is full, GPU memory is short, the loss diverged.
    """
    with held(run.folder / "lock", title):
        run.begin(experiment, data.identity | {"fold": fold})
        if run.is_done:
            say(f"{title}: done before, in {run.folder}")
            return
        started = time.monotonic()
        family = family_of(experiment.model, experiment.image_size)
        study, cache = data.study, data.cache
        fold_of = data.folds.set_index("patientId")["fold"].astype(str)
        where = study["patientId"].map(fold_of)
        training = study[where.str.isdigit() & (where != str(fold))]
        held_out = study[where == str(fold)]
        network = trained(run, experiment, family, training, cache, title)
        tables = {}
        test = cache.index.loc[cache.index["split"] == "test", "patientId"]
        images = {"oof": held_out["patientId"], "test": test, "holdout": study.loc[where == "holdout", "patientId"]}
        for name, ids in images.items():
            if len(ids) == 0:
                continue
            tables[name] = run.table(name, family.kind)
            predicted = predict_ids(network, family, experiment, cache, list(ids), f"{title}: predicting {name} images")
            WRITERS[family.kind](tables[name], predicted)
        run.finish(family.kind, time.monotonic() - started, tables)
        for old in run.folder.glob("epoch-*.safetensors"):
            old.unlink()  # the averaged weights are what is left to be used


def trained(
    run: Run, experiment: schema.Experiment, family: Family, training: pd.DataFrame, cache: Cache, title: str
) -> keras.Model:
    """The network with its final weights: trained, or read where training had ended before."""
    if run.weights.exists():
        network = family.build()
        checkpoint.read_weights(run.weights, network.variables)
        return network
    inner_people = inner_split(training, experiment)
    is_inner = training["group"].isin(inner_people)
    inner = samples_of(training[is_inner], cache, experiment.image_size) if is_inner.any() else None
    samples = samples_of(training[~is_inner], cache, experiment.image_size)
    say(f"{title}: {len(samples)} training images, {int(samples.positive.sum())} positive")
    network = loop.train(experiment, family, samples, inner, run.folder, title)
    checkpoint.write_weights(run.weights, network.variables)
    return network


def inner_split(training: pd.DataFrame, experiment: schema.Experiment) -> np.ndarray:
    """People of the training folds whose images are only looked at; a function of the seed and of who there is."""
    people = np.sort(training["group"].unique())
    count = round(experiment.inner_share * len(people))
    return np.random.default_rng(experiment.seed).permutation(people)[:count]


def predict_ids(
    network: keras.Model, family: Family, experiment: schema.Experiment, cache: Cache, ids: list[str], title: str
):
    """Prediction table of cached images, by the experiment's test-time variants."""
    images = CachedImages(cache, ids, experiment.image_size)
    sizes = original_sizes(cache, ids)
    return predict(network, family, ids, images, sizes, experiment.tta, experiment.batch_size, title)
