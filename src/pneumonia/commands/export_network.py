"""`./run.sh export run=...`: the networks of a run or an ensemble for other programs, by Keras's own export, each
compared before it is kept.

An exported network takes uint8 gray pictures, already scaled to its square, and normalises them itself. Its outputs
are the network's own: what turns them into boxes or probabilities (decoding/) works with NumPy, outside of it.
"""

import contextlib
import io
import logging
import shutil
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pneumonia import config, schema
from pneumonia.data.prepared import read_prepared
from pneumonia.data.samples import CachedImages
from pneumonia.inference import engines
from pneumonia.inference.predictor import ENSEMBLE, NETWORK, ONNX_FILE, RECIPE, ensemble_runs, is_ensemble
from pneumonia.reports.held_out import read_held_out
from pneumonia.runs.run import Run, experiment_of
from pneumonia.system.errors import EnvironmentFailure, bad_input
from pneumonia.system.files import new_folder, sha256, write_json
from pneumonia.system.keras_import import import_keras_quietly

if TYPE_CHECKING:  # it imports Keras, which must be imported quietly
    from pneumonia.models.family import Family

COMPARED = 16  # held-out images on which both are compared
PIXELS, CONFIDENCE = 0.5, 1e-3  # largest difference of a box's side, in the network's pixels, and of a confidence
OUTPUT = 1e-2  # largest difference of an output, relative where it is above 1
LOWEST = 0.05  # confidence of the boxes that are compared: below, a rounding decides whether a box is kept at all
BATCHES, TURNS = (1, 16), 5  # of the timings
LIBRARY = {"onnx": "ONNX Runtime", "saved_model": "TensorFlow", "litert": "LiteRT"}


class Target(NamedTuple):
    """A format: the name of its file or folder, Keras's name for it, the package that runs it, and what opens it."""

    file: str
    keras_name: str
    package: str
    open: Callable[[Path], engines.Engine]


TARGETS = {
    "onnx": Target(ONNX_FILE, "onnx", "onnxruntime", engines.open_onnx),
    "saved_model": Target("saved_model", "tf_saved_model", "tensorflow", engines.open_saved_model),
    "litert": Target("network.tflite", "litert", "tensorflow", engines.open_litert),
}


def export_network(settings: schema.Export) -> dict:
    """Write the network of a run, or those of an ensemble; return the folder, differences and timings.

    Raises:
        BadInput: no finished run; inputs besides the image; the exported network predicts something else.
        EnvironmentFailure: a package is missing, or cannot convert the network.
    """
    source = config.required_path(settings.run, "run", "the folder of a run or a submission")
    members = ensemble_runs(source) if is_ensemble(source) else {"": [Run(source)]}
    runs = [run for folds in members.values() for run in folds]
    for run in runs:
        check_run(run)
    target = TARGETS[settings.format]
    if target.package != "tensorflow":
        engines.import_package(target.package)
    import_keras_quietly()
    name = source.name if is_ensemble(source) else f"{runs[0].dataset.name}-{label_of(runs[0])}"
    out = (
        config.user_path(settings.out) if settings.out else config.REPOSITORY / "exports" / f"{name}-{settings.format}"
    )
    with new_folder(out, replace=not settings.out) as folder:
        if not is_ensemble(source):
            result = convert_run(runs[0], target, settings.format, folder)
        else:
            result = {"networks": {}}
            for run in runs:
                (folder / label_of(run)).mkdir()
                result["networks"][label_of(run)] = convert_run(run, target, settings.format, folder / label_of(run))
            shutil.copy(source / RECIPE, folder / RECIPE)
            names = {member: [label_of(run) for run in folds] for member, folds in members.items()}
            write_json(folder / ENSEMBLE, {"networks": names})
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{settings.format}: {out}, {size / 1e6:.0f} MB")
    if settings.format == "onnx":
        print(f"next: ./run.sh predict run={out} images=DIR, also without TensorFlow: docs/networks.md")
    return {"folder": out, "format": settings.format, "bytes": size, **result}


def label_of(run: Run) -> str:
    return f"{run.folder.parent.name}-fold{run.fold}"


def check_run(run: Run) -> None:
    """Raises BadInput for a run that is not finished or has inputs besides the image."""
    if not run.is_done:
        raise bad_input(run.folder, "is not a finished run", "give run=runs/DATASET/EXPERIMENT/fold0")
    if inputs := getattr(experiment_of(run).model, "inputs", []):
        what = f"has inputs besides the image: {', '.join(inputs)}"
        raise bad_input(run.folder, what, "export a run without model.inputs")


def convert_run(run: Run, target: Target, name: str, folder: Path) -> dict:
    """Write a run's network with network.json, and print how it compares; return differences and milliseconds."""
    from pneumonia.inference.network import network_of

    network, family, experiment = network_of(run)
    pictures = held_out_pictures(run, experiment.image_size)
    convert(network, folder / target.file, target.keras_name, experiment.image_size)
    engine = target.open(folder / target.file)
    difference = largest_difference(family, outputs_of(network)(pictures), engine(pictures))
    if difference["box"] > PIXELS or difference["confidence"] > CONFIDENCE or difference["output"] > OUTPUT:
        text = (
            f"{difference['box']:.2f} pixels, {difference['confidence']:.4f} of confidence, "
            f"{difference['output']:.4f} of an output"
        )
        what = f"the exported network's predictions differ by up to {text} on {len(pictures)} images"
        raise bad_input(run.folder, what, "nothing is kept; choose another format=")
    milliseconds = latency(outputs_of(network), engine, pictures)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(
        folder / NETWORK,
        {
            "experiment": run.folder.parent.name,
            "fold": run.fold,
            "kind": family.kind,
            "weights_sha256": run.done()["weights_sha256"],
            "input": f"(batch, {experiment.image_size}, {experiment.image_size}, 1) uint8 gray",
            "outputs": {key: list(value.shape[1:]) for key, value in engine(pictures[:1]).items()},
            "settings": config.as_tree(experiment),
            "decoder": run.done()["decoder"],
            "difference": difference,
            "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
        },
    )
    print_result(name, label_of(run), len(pictures), difference, milliseconds)
    return {"difference": difference, "milliseconds": milliseconds}


def held_out_pictures(run: Run, size: int) -> np.ndarray:
    """Return (n, size, size, 1) uint8, the first held-out images, from the run's image cache."""
    ids = list(read_held_out(str(run.folder)).table["patientId"][:COMPARED])
    return np.stack([*CachedImages(read_prepared(run.start()["prepared"]).cache, ids, size)])[..., None]


def convert(network, path: Path, keras_name: str, size: int) -> None:
    """Raises EnvironmentFailure if the library is missing or cannot convert the network."""
    import keras

    signature = [keras.InputSpec(shape=(None, size, size, 1), dtype="uint8")]
    log = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            network.export(str(path), format=keras_name, input_signature=signature, verbose=False)
    except ImportError as error:
        raise EnvironmentFailure(f"{keras_name}: {error.name} is not installed; {engines.INSTALL}") from error
    except Exception as error:  # each converter has exceptions of its own
        reason = " ".join(str(error).split())[:300]
        raise EnvironmentFailure(f"{keras_name}: cannot convert this network: {reason}") from error
    finally:
        logging.disable(log)


def outputs_of(network) -> engines.Engine:
    return lambda pictures: {name: np.asarray(value) for name, value in network.predict_on_batch(pictures).items()}


# ------------------------------------------------------------------ comparing


def largest_difference(family: "Family", ours: dict, theirs: dict) -> dict[str, float]:
    """Return the largest difference of a box's side in pixels, of a confidence or probability, and of an output.

    A box of one network without a box of the other that is near counts with its distance to the nearest, or with
    the confidence that it has where the other has none.
    """
    output = max(
        float((np.abs(theirs[name] - value) / np.maximum(1, np.abs(value))).max()) for name, value in ours.items()
    )
    classes = [family.decode_classes(outputs) for outputs in (ours, theirs)]
    confidence = 0.0 if classes[0] is None else float(np.abs(classes[0] - classes[1]).max())
    decoded = [family.decode(outputs) for outputs in (ours, theirs)]
    if family.kind == "classifier":
        confidence = float(np.abs(np.asarray(decoded[0]) - np.asarray(decoded[1])).max())
        return {"box": 0.0, "confidence": confidence, "output": output}
    box = 0.0
    for one, other in zip(*decoded):
        for (boxes, scores), (candidates, candidate_scores) in ((one, other), (other, one)):
            for sides, score in zip(np.reshape(boxes, (-1, 4)), scores):
                if score < LOWEST:
                    continue
                if not len(candidates):
                    confidence = max(confidence, float(score))
                    continue
                distances = np.abs(np.reshape(candidates, (-1, 4)) - sides).max(axis=1)
                nearest = int(distances.argmin())
                box = max(box, float(distances[nearest]))
                confidence = max(confidence, abs(float(score) - float(candidate_scores[nearest])))
    return {"box": box, "confidence": confidence, "output": output}


def latency(ours: engines.Engine, theirs: engines.Engine, pictures: np.ndarray) -> dict[str, dict[str, float]]:
    """Return {batch: {keras, exported}}: the median milliseconds of a pass."""
    result = {}
    for batch in BATCHES:
        given = np.resize(pictures, (batch, *pictures.shape[1:]))
        milliseconds: dict[str, list[float]] = {"keras": [], "exported": []}
        for _ in range(TURNS + 1):
            for name, run in (("keras", ours), ("exported", theirs)):
                start = time.perf_counter()
                run(given)
                milliseconds[name].append(1000 * (time.perf_counter() - start))
        # the first turn compiles
        result[str(batch)] = {name: round(statistics.median(times[1:]), 2) for name, times in milliseconds.items()}
    return result


def print_result(name: str, label: str, images: int, difference: dict, milliseconds: dict) -> None:
    text = f"boxes to {difference['box']:.3f} pixels, confidences to {difference['confidence']:.6f}"
    print(f"{label}: same predictions on {images} held-out images: {text}")
    for batch, times in milliseconds.items():
        print(f"batch of {batch}: Keras {times['keras']:.1f} ms, {LIBRARY[name]} {times['exported']:.1f} ms")
