"""EfficientNet-Lite: a PyTorch file is read without running anything in it, and its weights find their places."""

import importlib.metadata
import io
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
import skimage.data
import skimage.transform

from pneumonia import schema
from pneumonia.models import efficientnet_lite
from pneumonia.models.backbones import build_backbone, build_pyramid
from pneumonia.models.torch_file import MAGIC_NUMBER, VERSION, read_torch_file
from pneumonia.schema.models import EFFICIENTNET_LITE
from pneumonia.system.errors import BadInput, EnvironmentFailure

CLASSES_OF_A_CAT = (281, 282, 285)  # tabby, tiger cat, Egyptian cat


class Named:
    """Pickles as a reference to any name, which need not exist here."""

    def __init__(self, module: str, name: str, *arguments):
        self.path, self.arguments = (module, name), arguments


class TorchPickler(pickle._Pickler):  # Python's own code: its C twin cannot write a name that does not exist
    """Writes what torch.save of PyTorch 1.5 wrote, without PyTorch."""

    def persistent_id(self, value):
        return value.reference if isinstance(value, Storage) else None

    def save_name(self, value):
        module, name = value.path
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        if value.arguments:
            self.save(value.arguments)
            self.write(pickle.REDUCE)

    dispatch = {**pickle._Pickler.dispatch, Named: save_name}  # noqa: RUF012


def pickled(value) -> bytes:
    out = io.BytesIO()
    TorchPickler(out, 2).dump(value)
    return out.getvalue()


class Storage:
    def __init__(self, key: str, count: int):
        self.reference = ("storage", Named("torch", "FloatStorage"), key, "cpu", count, None)


def tensor(key: str, array: np.ndarray, offset: int = 0):
    strides = tuple(step // array.itemsize for step in array.strides)
    storage = Storage(key, offset + array.size)
    return Named("torch._utils", "_rebuild_tensor_v2", storage, offset, array.shape, strides, False, OrderedDict())


def torch_file(path, state: dict, storages: dict[str, np.ndarray]):
    system = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {}}
    parts = [pickled(value) for value in (MAGIC_NUMBER, VERSION, system, state, list(storages))]
    parts += [struct.pack("<q", values.size) + values.astype("<f4").tobytes() for values in storages.values()]
    path.write_bytes(b"".join(parts))
    return path


def test_tensors_keep_names_order_shapes_and_values(tmp_path):
    first, second = np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.arange(6, dtype=np.float32)
    state = OrderedDict(b=tensor("7", first), a=tensor("8", second[2:], offset=2), c=tensor("7", first.T))
    read = read_torch_file(torch_file(tmp_path / "a.pth", state, {"8": second, "7": first.ravel()}))
    assert list(read) == ["b", "a", "c"]
    for name, expected in {"b": first, "a": second[2:], "c": first.T}.items():
        np.testing.assert_array_equal(read[name], expected)


@pytest.mark.parametrize("name", [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("numpy", "load")])
def test_every_other_name_is_refused_and_not_run(tmp_path, name):
    state = OrderedDict(a=Named(*name, "touch ran"))
    file = torch_file(tmp_path / "a.pth", state, {})
    with pytest.raises(BadInput, match=rf"wants to use {name[0]}\.{name[1]}"):
        read_torch_file(file)


def test_a_damaged_file_is_one_line(tmp_path):
    whole = torch_file(tmp_path / "a.pth", {"a": tensor("1", np.ones(8, np.float32))}, {"1": np.ones(8)}).read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"cut\.pth"):
            read_torch_file(tmp_path / "cut.pth")
    outside = torch_file(tmp_path / "b.pth", {"a": tensor("1", np.ones(8, np.float32), offset=4)}, {"1": np.ones(12)})
    assert read_torch_file(outside)["a"].shape == (8,)
    larger = tensor("1", np.ones(8, np.float32))
    larger.arguments = (larger.arguments[0], 4, *larger.arguments[2:])
    with pytest.raises(BadInput, match="larger than its storage"):
        read_torch_file(torch_file(tmp_path / "c.pth", {"a": larger}, {"1": np.ones(8)}))


def test_missing_weights_say_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    with pytest.raises(
        EnvironmentFailure, match=r"not installed.*install extra=pretrained.*weights_folder.*weights=none"
    ):
        efficientnet_lite.weights_file("efficientnetlite0", None)
    with pytest.raises(EnvironmentFailure, match=r"efficientnet-lite0-.*\.pth: is missing"):
        efficientnet_lite.weights_file("efficientnetlite0", tmp_path)


def test_another_file_than_the_published_one_is_refused(tmp_path):
    file = tmp_path / efficientnet_lite.SIZES["efficientnetlite0"].file
    file.write_bytes(b"other weights")
    settings = schema.model_settings("efficientnetlite0", weights="imagenet", weights_folder=str(tmp_path))
    with pytest.raises(BadInput, match="not the published file"):
        build_backbone(settings, "efficientnetlite0", 64)


@pytest.mark.parametrize("name", EFFICIENTNET_LITE)
def test_a_cat_is_a_cat(name):
    """The backbone's features, pooled and multiplied by the file's own head, give the picture's class."""
    file = efficientnet_lite.weights_file(name, None)
    network, _ = build_backbone(schema.model_settings(name, weights="imagenet"), name, 224)
    cat = skimage.data.chelsea()[:, 75:375]
    cat = skimage.transform.resize(cat, (224, 224), preserve_range=True).astype(np.float32)
    features = np.asarray(network((cat[None] - 127.0) / 128.0)).mean(axis=(1, 2))[0]
    tensors = read_torch_file(file)
    logits = tensors["_fc.weight"] @ features + tensors["_fc.bias"]
    assert np.argmax(logits) in CLASSES_OF_A_CAT


@pytest.mark.parametrize("name", ["efficientnetlite0", "mobilenetv2", "densenet121", "resnet50", "efficientnetb0"])
def test_a_pyramid_has_a_map_for_every_stride(name):
    network, _ = build_pyramid(schema.model_settings(name), name, 64, (4, 8, 16, 32))
    assert [output.shape[1:3] for output in network.outputs] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    last, _ = build_backbone(schema.model_settings(name), name, 64)
    assert network.outputs[-1].shape == last.output.shape
