"""Pretrained weights: from keras.applications' own download, or from local files, each with a checksum.

Nothing here unpickles or runs anything from a file: weights are arrays (HDF5 or safetensors) for a network that this
program builds itself.
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

# DenseNet121 with 14 sigmoid outputs, ImageNet input range, trained on NIH ChestX-ray14; as brucechou1983 published it
# (https://github.com/brucechou1983/CheXNet-Keras). Its authors give no checksum, so the user must.
CHEXNET_FILE = "brucechou1983_CheXNet_Keras_0.3.0_weights.h5"
FOLDER_VARIABLE = "PNEUMONIA_WEIGHTS"


def weights_folder(model: schema.Model) -> Path | None:
    """Where pretrained files lie: `model.weights_folder`, else $PNEUMONIA_WEIGHTS, else None."""
    text = model.weights_folder or os.environ.get(FOLDER_VARIABLE, "")
    return config.user_path(text) if text else None


# ------------------------------------------------------------------ keras.applications


@contextlib.contextmanager
def from_folder(model: schema.Model) -> Iterator[None]:
    """Inside, keras.applications and segmentation-models take weights from the user's folder where one is named.

    A file there must match the checksum that the library knows for it; the few for which it knows none (the
    MobileNets') must match `model.weights_sha256`. Without a folder they are downloaded as ever, and one of no known
    checksum is compared with `model.weights_sha256` where that is given, else named with its own.

    Raises:
        EnvironmentFailure: the file is not in the folder, or there is no internet to download it.
        BadInput: its checksum differs, or none is known.
    """
    download = keras.utils.get_file

    def get_file(fname, origin, cache_subdir="models", file_hash=None, md5_hash=None, **options):
        folder, file_hash = weights_folder(model), file_hash or md5_hash
        if folder is not None:
            file = folder / fname
            if not file.is_file():
                raise EnvironmentFailure(f"{file}: is missing; download {origin} there, or model.weights=none")
            if not (file_hash and md5(file) == file_hash):
                check(file, model.weights_sha256)
            return readable(file)
        try:
            file = Path(download(fname, origin, cache_subdir=cache_subdir, file_hash=file_hash, **options))
        except Exception as error:  # of urllib, http and Keras: no common kind
            raise EnvironmentFailure(
                f"{origin}: cannot be downloaded ({error}); where there is no internet put {fname} into a folder and "
                f"name it: model.weights_folder=DIR (or ${FOLDER_VARIABLE}), or train with model.weights=none"
            ) from error
        if not file_hash and model.weights_sha256:
            check(file, model.weights_sha256)
        elif not file_hash:
            say(f"{file}: its publisher gives no checksum; model.weights_sha256={sha256(file)} pins this one")
        return readable(file)

    with replace_get_file(get_file):
        yield


def readable(file: Path) -> str:
    """Raises BadInput for what is no HDF5, such as a login page that was saved under the file's name."""
    if not h5py.is_hdf5(file):
        raise bad_input(file, "is no HDF5 file of weights", "download it again")
    return str(file)


def md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


# ------------------------------------------------------------------ files


def load(backbone: keras.Model, model: schema.Model) -> None:
    """Load `chexnet`, or a file, into a backbone.

    A file is Keras's HDF5 weights of the same backbone (with a 14-class CheXNet head, or without any head), or
    weights.safetensors of a run of this program whose network begins with the same backbone.

    Raises:
        EnvironmentFailure: no such file.
        BadInput: its checksum is missing or differs, or it holds another network.
    """
    file = file_of(model)
    if not file.is_file():
        raise EnvironmentFailure(
            f"{file}: there is no such weights file; name it by model.weights=FILE, or train with none"
        )
    if not is_own(file):
        check(file, model.weights_sha256)
    if file.suffix == ".safetensors":
        load_run(backbone, file)
    else:
        load_hdf5(backbone, file)
    say(f"backbone from {file}")


def file_of(model: schema.Model) -> Path:
    if model.weights != "chexnet":
        return config.user_path(model.weights)
    folder = weights_folder(model)
    if folder is None:
        raise EnvironmentFailure(
            f"chexnet: its file {CHEXNET_FILE} must be downloaded by you; name its folder by model.weights_folder=DIR "
            f"(or ${FOLDER_VARIABLE}) and its checksum by model.weights_sha256="
        )
    return folder / CHEXNET_FILE


def is_own(file: Path) -> bool:
    """Whether a run of this program wrote the file, and its recorded checksum still holds."""
    done = file.parent / "done.json"
    return file.suffix == ".safetensors" and done.is_file() and read_json(done).get("weights_sha256") == sha256(file)


def check(file: Path, wanted: str) -> None:
    """Raises BadInput where the user gave no checksum for a file that is not on the known list, or another one."""
    digest = sha256(file)
    if not wanted:
        fix = f"if you trust it, say so by model.weights_sha256={digest}"
        raise bad_input(file, "is on no list of known weights", fix)
    if digest != wanted.lower():
        raise bad_input(
            file, f"its SHA-256 is {digest}, not {wanted}", "download it again, or correct model.weights_sha256"
        )


def load_hdf5(backbone: keras.Model, file: Path) -> None:
    """Keras's HDF5 weights: of the backbone alone, or else of the 14-class network around it."""
    try:
        return load_every_weight(backbone, file)
    except Exception as error:  # HDF5 and Keras raise many kinds for a file of another network
        reason = error
    if len(backbone.outputs) == 1:  # a detector's has one for each level of its pyramid, and never such a head
        with contextlib.suppress(Exception):
            return load_every_weight(chexnet(backbone), file)
    raise not_this_network(file, backbone, reason) from reason


def load_every_weight(network: keras.Model, file: Path) -> None:
    """Raises ValueError, or whatever HDF5 and Keras raise, where the file lacks any weight of the network: Keras itself
    leaves such a weight as it was and warns, among warnings about files that are whole."""
    for variable in network.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(ops.full(variable.shape, float("nan"), variable.dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network.load_weights(file)
    missing = [variable.path for variable in network.weights if not ops.all(ops.isfinite(variable))]
    if missing:
        raise ValueError(f"{len(missing)} weights are not in the file, the first is {missing[0]}")


def chexnet(backbone: keras.Model) -> keras.Model:
    """CheXNet around a DenseNet121: average pooling and 14 sigmoid outputs, one per label of NIH.

    Rajpurkar et al., CheXNet, https://arxiv.org/abs/1711.05225. The layers are the backbone's own, so that weights
    loaded into this network are the backbone's afterwards.
    """
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    return keras.Model(backbone.input, keras.layers.Dense(len(NIH), "sigmoid", name="predictions")(pooled))


def load_run(backbone: keras.Model, file: Path) -> None:
    """A run's weights, in which the backbone's variables come first, in their order."""
    tensors = tensors_of(file)
    if shapes_of(tensors[: len(backbone.variables)]) != shapes_of(backbone.variables):
        raise not_this_network(file, backbone, None)
    for variable, value in zip(backbone.variables, tensors):
        variable.assign(value)


def load_rest(network: keras.Model, model: schema.Model) -> None:
    """What lies behind the backbone too, where `model.weights` is a run of the very same network: a detector goes on
    from a detector, at another size or on other images. Anything else leaves the network as it is."""
    file = config.user_path(model.weights)
    if file.suffix != ".safetensors":
        return
    tensors = tensors_of(file)
    if shapes_of(tensors) == shapes_of(network.variables):
        for variable, value in zip(network.variables, tensors):
            variable.assign(value)
        say(f"the rest of the network from there too: it is the same network as in {file}")


def tensors_of(file: Path) -> list[np.ndarray]:
    """Of a run's weights, in the order of its network's variables."""
    return [value for _, value in sorted(load_file(file).items())]


def shapes_of(variables: Iterable) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def not_this_network(file: Path, backbone: keras.Model, error: Exception | None) -> BadInput:
    reason = f" ({' '.join(str(error).split())[:160]})" if error else ""
    return bad_input(
        file,
        f"holds the weights of another network than {backbone.name}, with or without 14 outputs{reason}",
        "name the matching file",
    )
