"""Networks that predict images: of a finished run, by Keras, or an exported one, by ONNX Runtime and without Keras."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pneumonia import config, schema
from pneumonia.decoding.decoder import Decoder
from pneumonia.decoding.registry import decoder_of
from pneumonia.inference.engines import Engine, open_onnx
from pneumonia.runs.run import Run, experiment_of
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.files import read_json, sha256
from pneumonia.system.keras_import import import_keras_quietly

NETWORK = "network.json"  # of an exported network: what its file is, and how its outputs are decoded
ENSEMBLE = "ensemble.json"  # of an exported ensemble: {"networks": {member: folders in it, one per network}}
RECIPE = "recipe.yaml"
ONNX_FILE = "network.onnx"


class Predictor(NamedTuple):
    """title: for progress bars. fold: it was trained for. experiment: its settings; image_size is needed before the
    network is opened. open: builds or reads the network."""

    title: str
    fold: int | str
    experiment: schema.Experiment
    open: Callable[[], tuple[Engine, Decoder]]


class Source(NamedTuple):
    """What `run=` names.

    folder: as given. recipe: of an ensemble, else None. members: {member: its networks, one per fold and seed}; a
    single network is the member "".
    """

    folder: Path
    recipe: Path | None
    members: dict[str, list[Predictor]]

    @property
    def predictors(self) -> list[Predictor]:
        return [each for folds in self.members.values() for each in folds]


def source_of(folder: Path, engine: str) -> Source:
    """Read what a folder holds.

    Args:
        engine: keras, onnx, or auto: whichever the folder is for.

    Raises:
        BadInput: it holds no finished network or ensemble, or is not for this engine.
    """
    is_exported = (folder / NETWORK).exists() or (folder / ENSEMBLE).exists()
    is_trained = (folder / "done.json").exists() or is_ensemble(folder)
    if not is_exported and not is_trained:
        raise not_finished(folder)
    if engine == "onnx" and not is_exported:
        raise bad_input(
            folder, "is not exported", f"./run.sh export run={folder} format=onnx, and give run= its folder"
        )
    if engine == "keras" and is_exported:
        raise bad_input(folder, "is exported", "leave engine= out, or give run= the run or submission itself")
    if is_exported:
        return exported(folder)
    if is_ensemble(folder):
        members = {name: [of_run(run) for run in runs] for name, runs in ensemble_runs(folder).items()}
        return Source(folder, folder / RECIPE, members)
    return Source(folder, None, {"": [of_run(Run(folder))]})


def not_finished(folder: Path) -> BadInput:
    fix = "give run=runs/DATASET/EXPERIMENT/fold0, run=submissions/NAME or run=exports/NAME"
    return bad_input(folder, "is not a finished run or an ensemble", fix)


# ------------------------------------------------------------------ trained


def is_ensemble(folder: Path) -> bool:
    return (folder / RECIPE).exists() and not (folder / ENSEMBLE).exists()


def ensemble_runs(ensemble: Path) -> dict[str, list[Run]]:
    """{member: its runs}.

    Raises:
        BadInput: it is not an ensemble, was fitted on tables, or one of its runs is gone.
    """
    if not is_ensemble(ensemble):
        raise not_finished(ensemble)
    result = ensemble / "result.json"
    names = read_json(result).get("runs") if result.exists() else None
    if names is None:
        fix = "predict with each model, then ./run.sh apply recipe=... members=[...]"
        raise bad_input(ensemble, "was fitted on tables: it has a recipe, but no trained models", fix)
    runs = {name: [Run(config.REPOSITORY / path) for path in paths] for name, paths in names.items()}
    missing = [run.folder for folds in runs.values() for run in folds if not run.is_marked]
    if missing:
        fix = "make the ensemble again by the command that made it"
        raise bad_input(ensemble, f"its run {missing[0]} does not exist any more", fix)
    return runs


def of_run(run: Run) -> Predictor:
    def open_run() -> tuple[Engine, Decoder]:
        import_keras_quietly()
        from pneumonia.inference.network import network_of

        network, family, _ = network_of(run)
        return network.predict_on_batch, family

    return Predictor(f"{run.folder.parent.name} fold {run.fold}", run.fold, experiment_of(run), open_run)


# ------------------------------------------------------------------ exported


@contextlib.contextmanager
def damage_named(file: Path) -> Iterator[None]:
    """Raises BadInput where a file of an export is no JSON, or lacks what every export has."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_input(file, "is missing or damaged", "export or copy the folder again") from error


def exported(folder: Path) -> Source:
    """Raises BadInput for a damaged export, or one in another format than ONNX."""
    if not (folder / ENSEMBLE).exists():
        return Source(folder, None, {"": [of_export(folder)]})
    with damage_named(folder / ENSEMBLE):
        names = {member: [*folds] for member, folds in read_json(folder / ENSEMBLE)["networks"].items()}
    members = {member: [of_export(folder / name) for name in folds] for member, folds in names.items()}
    return Source(folder, folder / RECIPE, members)


def of_export(folder: Path) -> Predictor:
    if not (folder / NETWORK).is_file():
        raise bad_input(folder / NETWORK, "is missing", "export or copy the folder again")
    with damage_named(folder / NETWORK):
        text, file = read_json(folder / NETWORK), folder / ONNX_FILE
        expected = text["files"].get(ONNX_FILE)
        title, fold = f"{text['experiment']} fold {text['fold']}", text["fold"]
    if expected is None:
        raise bad_input(folder, "is not exported for ONNX Runtime", "export it with format=onnx")
    if not file.is_file() or sha256(file) != expected:
        raise bad_input(file, "is missing or damaged", "export or copy it again")
    try:
        experiment = config.from_tree(schema.Experiment, text["settings"], str(folder / NETWORK))
        decoder = decoder_of(experiment.model, experiment.image_size).with_decoder(text["decoder"])
    except (BadInput, KeyError, TypeError) as error:
        what = f"has other settings than this version of the program knows: {error}"
        raise bad_input(folder / NETWORK, what, "export it again") from error
    return Predictor(title, fold, experiment, lambda: (open_onnx(file), decoder))
