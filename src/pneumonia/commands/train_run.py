"""Trains one experiment on one fold, from prepared data to weights and prediction tables."""

import dataclasses
import time

import keras

from pneumonia import schema
from pneumonia.boxes.predictions import write_classes, write_detections
from pneumonia.data.labels import CLASSES, HEADS
from pneumonia.data.prepared import Prepared
from pneumonia.data.samples import cached_images
from pneumonia.inference.decoder import fit_decoder
from pneumonia.inference.predict import predict_tables
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
from pneumonia.training.other_runs import hardness, learned_from, with_weights_file
from pneumonia.training.pseudo_labels import with_pseudo_labels
from pneumonia.training.run_data import RunData, run_data_of

WRITERS = {"classifier": write_classes, "localizer": write_detections}


def train_run(run: Run, experiment: schema.Experiment, data: Prepared, title: str, nih: str = "") -> None:
    """Train, predict the held-out fold, the holdout and the test images, and mark the run done.

    An interrupted run continues from its checkpoint; a finished one is left as it is.

    Args:
        run: its fold is a number of the fold table, `report` or `published`.
        nih: folder of ChestX-ray14, for a head of its 14 labels.

    Raises:
        BadInput: the folder has a run with other settings or data.
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
    """Do what the run still lacks, and write its marker."""
    start = time.monotonic()
    run_data = run_data_of(data, run.fold, experiment, nih)
    samples = with_pseudo_labels(run_data.samples, run, experiment, data.cache, title)
    run_data = dataclasses.replace(run_data, samples=samples)
    fitted = family_of(experiment.model, experiment.image_size, pretrained=False).fit_to_boxes(run_data.samples.boxes)
    experiment = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **fitted))
    network, family = final_network(run, experiment, run_data, title)
    people = dict(zip(data.study["patientId"], data.study["group"]))
    decoder = fit_decoder(network, family, experiment, run_data.inner, people, title)
    family = family.with_decoder(decoder)
    cache = data.cache
    run_data.write_held_out(run.folder / "held_out.csv", run.fold)
    test = cache.index.loc[cache.index["split"] == "test", "patientId"]
    images = {"oof": run_data.held_out["patientId"], "test": test, "holdout": run_data.holdout["patientId"]}
    tables = {}
    for name, ids in images.items():
        if len(ids) == 0:
            continue
        tables[name] = run.table(name, family.kind)
        cached = cached_images(cache, list(ids), experiment.image_size)
        table, classes = predict_tables(
            network.predict_on_batch, family, cached, experiment, f"{title}: predicting {name} images"
        )
        WRITERS[family.kind](tables[name], table)
        if classes is not None:  # of a localizer, with an output for the whole image
            tables[f"{name}_classes"] = run.table(name, "classifier")
            write_classes(tables[f"{name}_classes"], classes)
    run.finish(family.kind, time.monotonic() - start, tables, fitted | decoder)
    remove_leftovers(run)


def remove_leftovers(run: Run) -> None:
    """Remove temporary files of killed processes, and a finished run's checkpoints. The caller holds the run's lock."""
    patterns = [".*.tmp", ".probe-*"]
    patterns += ["epoch-*.safetensors", "best-*.safetensors"] if run.is_done else []
    for pattern in patterns:
        for file in run.folder.glob(pattern):
            file.unlink(missing_ok=True)


def final_network(run: Run, experiment: schema.Experiment, run_data: RunData, title: str) -> tuple[keras.Model, Family]:
    """The network with its final weights: trained, or read where training has ended before."""
    if run.weights.exists():
        family = family_of(experiment.model, experiment.image_size, pretrained=False)
        with compute_policy(experiment):
            network = family.build()
        try:
            checkpoint.read_weights(run.weights, network.variables)
            return network, family
        except checkpoint.DamagedWeights:
            say(f"{run.weights}: damaged and renamed to .damaged; training continues from the newest intact checkpoint")
            run.weights.rename(run.weights.with_suffix(".damaged"))
            (run.folder / "done.json").unlink(missing_ok=True)
    samples, inner = run_data.samples, run_data.inner
    say(f"{title}: {len(samples)} training images, {int(samples.positive.sum())} positive")
    model, loss = with_weights_file(experiment.model, run), experiment.loss
    if loss.class_weights == "balanced":
        is_binary = not HEADS[model.head].exclusive
        labels, n_classes = (samples.positive.astype(int), 2) if is_binary else (samples.classes, len(CLASSES))
        loss = dataclasses.replace(loss, class_weights=balanced_weights(labels, n_classes))
    family = family_of(model, experiment.image_size, loss)
    network = loop.train(
        experiment, family, samples, inner, run.folder, title, hardness(run, experiment.sampling, samples.ids)
    )
    checkpoint.write_weights(run.weights, network.variables)
    return network, family
