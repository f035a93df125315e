"""`./run.sh train`: one experiment on one fold, from prepared data to weights and prediction tables."""

import dataclasses
import time

import keras

from pneumonia import schema
from pneumonia.boxes.predictions import write_classes, write_detections
from pneumonia.data.cache import Cache
from pneumonia.data.labels import CLASSES, HEADS
from pneumonia.data.prepared import Prepared
from pneumonia.data.samples import cached_images
from pneumonia.inference.decoder import fit_decoder
from pneumonia.inference.predict import predict
from pneumonia.models.classifier_losses import balanced_weights
from pneumonia.models.family import Family
from pneumonia.models.registry import family as family_of
from pneumonia.runs import checkpoint
from pneumonia.runs.memory import explain_memory_errors
from pneumonia.runs.precision import compute_policy
from pneumonia.runs.run import Run
from pneumonia.system.files import exclusive_lock
from pneumonia.system.progress import say
from pneumonia.training import loop
from pneumonia.training.run_data import RunData, learned_from, run_data_of, with_weights_file

WRITERS = {"classifier": write_classes, "localizer": write_detections}


def train_run(run: Run, experiment: schema.Experiment, data: Prepared, title: str, nih: str = "") -> None:
    """Train, predict the held-out fold, the holdout and the test images, and mark the run done.

    A run that was interrupted goes on where it stood; one that is done is left alone.

    Args:
        run: its fold is a number of the fold table, or `report`.
        nih: folder of ChestX-ray14, for a head of its 14 labels.

    Raises:
        BadInput: the folder holds a run with other settings or data.
        EnvironmentFailure: another process holds the run, the disk is full, memory is short, the loss diverged.
    """
    with exclusive_lock(run.folder / "lock", title):
        run.begin(experiment, data.identity | {"fold": run.fold}, learned_from(run, experiment))
        remove_leftovers(run)
        if run.is_done:
            say(f"{title}: done before, in {run.folder}")
            return
        with explain_memory_errors(experiment, run.folder):
            train_and_predict(run, experiment, data, title, nih)


def train_and_predict(run: Run, experiment: schema.Experiment, data: Prepared, title: str, nih: str) -> None:
    """What a run that was begun still lacks, and its marker."""
    started = time.monotonic()
    material = run_data_of(data, run.fold, experiment, nih)
    network, family = trained(run, experiment, material, title)
    people = dict(zip(data.study["patientId"], data.study["group"]))
    decoder = fit_decoder(network, family, experiment, material.inner, people, title)
    family = family.with_decoder(decoder)
    cache = data.cache
    material.write_held_out(run.folder / "held_out.csv", run.fold)
    test = cache.index.loc[cache.index["split"] == "test", "patientId"]
    images = {"oof": material.held_out["patientId"], "test": test, "holdout": material.holdout["patientId"]}
    tables = {}
    for name, ids in images.items():
        if len(ids) == 0:
            continue
        tables[name] = run.table(name, family.kind)
        predicted = predict_ids(network, family, experiment, cache, list(ids), f"{title}: predicting {name} images")
        WRITERS[family.kind](tables[name], predicted)
    run.finish(family.kind, time.monotonic() - started, tables, decoder)
    remove_leftovers(run)


def remove_leftovers(run: Run) -> None:
    """Remove what killed processes were writing, and once the run is done its checkpoints: its weights are what is left
    to be used. The run's lock is held: nobody is writing."""
    patterns = [".*.tmp", ".probe-*"]
    patterns += ["epoch-*.safetensors", "best-*.safetensors"] if run.is_done else []
    for pattern in patterns:
        for file in run.folder.glob(pattern):
            file.unlink(missing_ok=True)


def trained(run: Run, experiment: schema.Experiment, material: RunData, title: str) -> tuple[keras.Model, Family]:
    """The network with its final weights: trained, or read where training had ended before."""
    if run.weights.exists():
        family = family_of(experiment.model, experiment.image_size, pretrained=False)
        with compute_policy(experiment):
            network = family.build()
        try:
            checkpoint.read_weights(run.weights, network.variables)
            return network, family
        except checkpoint.DamagedWeights:
            say(f"{run.weights}: damaged, set aside; the run is trained again from its newest sound checkpoint, if any")
            run.weights.rename(run.weights.with_suffix(".damaged"))
            (run.folder / "done.json").unlink(missing_ok=True)
    samples, inner = material.samples, material.inner
    say(f"{title}: {len(samples)} training images, {int(samples.positive.sum())} positive")
    model, loss = with_weights_file(experiment.model, run), experiment.loss
    if loss.class_weights == "balanced":
        is_binary = not HEADS[model.head].exclusive
        labels, n_classes = (samples.positive.astype(int), 2) if is_binary else (samples.classes, len(CLASSES))
        loss = dataclasses.replace(loss, class_weights=balanced_weights(labels, n_classes))
    family = family_of(model, experiment.image_size, loss)
    network = loop.train(experiment, family, samples, inner, run.folder, title, material.hardness(run))
    checkpoint.write_weights(run.weights, network.variables)
    return network, family


def predict_ids(
    network: keras.Model, family: Family, experiment: schema.Experiment, cache: Cache, ids: list[str], title: str
):
    """Prediction table of cached images, by the experiment's test-time variants."""
    return predict(network, family, cached_images(cache, ids, experiment.image_size), experiment, title)
