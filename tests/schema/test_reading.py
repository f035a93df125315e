"""Settings from nested dictionaries: keys, types, ranges, choices, each fault in one line that names its key."""

import dataclasses
import typing
from dataclasses import dataclass

import pytest

from pneumonia import schema
from pneumonia.schema.models import Model
from pneumonia.schema.reading import FAMILY_SETTINGS, from_tree, known_keys, type_of
from pneumonia.schema.setting import Allowed, group, setting
from pneumonia.system.errors import BadInput


@dataclass
class Part:
    share: float = setting(0.5, "", low=0, high=1)


@dataclass
class Whole:
    count: int = setting(1, "", low=1)
    rate: float = setting(0.1, "", above=0, below=1)
    name: str = setting("a", "", choices=("a", "b"))
    names: list[str] = setting(["a"], "", choices=("a", "b"))
    weights: dict[str, float] = setting({"a": 1.0}, "", low=0, choices=("a", "b"))
    files: str | list[str] | dict[str, str] = setting([], "")
    part: Part = group(Part, "")
    parts: list[Part] = setting([], "")


def faults(tree) -> list[str]:
    with pytest.raises(BadInput) as caught:
        from_tree(Whole, tree, "FILE")
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"count": 0}, "error: FILE: count: 0 is not allowed; give 1 or more"),
        ({"count": 1.5}, "error: FILE: count: 1.5 has the wrong type; give a whole number, 1 or more"),
        ({"count": True}, "error: FILE: count: True has the wrong type; give a whole number, 1 or more"),
        ({"count": None}, "error: FILE: count: nothing has the wrong type; give a whole number, 1 or more"),
        ({"rate": 0}, "error: FILE: rate: 0 is not allowed; give a number above 0 and below 1"),
        ({"rate": float("nan")}, "error: FILE: rate: nan is not allowed; give a number above 0 and below 1"),
        ({"rate": "fast"}, "error: FILE: rate: 'fast' has the wrong type; give a number, above 0 and below 1"),
        ({"name": "c"}, "error: FILE: name: 'c' is not allowed; known: a, b"),
        ({"names": ["a", "c"]}, "error: FILE: names: ['a', 'c'] is not allowed; known: a, b"),
        ({"names": {"a": 1}}, "error: FILE: names: {'a': 1} has the wrong type; give a list: [a,b]"),
        ({"names": "a"}, "error: FILE: names: 'a' has the wrong type; give a list: [a,b]"),
        ({"weights": {"c": 1}}, "error: FILE: weights: {'c': 1.0} is not allowed; known: a, b"),
        ({"weights": {"a": -1}}, "error: FILE: weights: {'a': -1.0} is not allowed; give 0 or more"),
        ({"weights": {"a": float("inf")}}, "error: FILE: weights: {'a': inf} is not allowed; give 0 or more"),
        ({"part": 3}, "error: FILE: part: 3 is not a mapping; write its settings as {key: value}"),
        ({"part": {"share": 2}}, "error: FILE: part.share: 2 is not allowed; give 0 to 1"),
        ({"part": {"shaer": 1}}, "error: FILE: unknown setting 'part.shaer'; did you mean 'part.share'?"),
        ({"parts": [{"share": 1}, {"share": -1}]}, "error: FILE: parts[1].share: -1 is not allowed; give 0 to 1"),
        ({"parts": [3]}, "error: FILE: parts[0]: 3 is not a mapping; write its settings as {key: value}"),
        ({"fiels": []}, "error: FILE: unknown setting 'fiels'; did you mean 'files'?"),
        (3, "error: FILE: 3 is not a mapping; write its settings as {key: value}"),
    ],
)
def test_a_fault_is_one_line_with_key_value_and_what_is_taken(tree, says):
    assert faults(tree) == [says]


@pytest.mark.parametrize("files", [5, [1], {"a": 1}, [["a"]], None])
def test_files_are_a_list_or_named(files):
    [line] = faults({"files": files})
    assert line.endswith("has the wrong type; give text, or a list: [a,b], or a mapping: {name: value}")


@pytest.mark.parametrize("files", ["a.csv", ["a.csv"], {"a": "a.csv"}])
def test_files_come_back_as_they_are(files):
    assert from_tree(Whole, {"files": files}, "FILE").files == files


def test_every_fault_is_there():
    assert len(faults({"count": 0, "rate": 2, "part": {"share": 7}, "x": 1})) == 4


def test_numbers_are_read_as_people_write_them():
    """YAML takes 1e-4 for text, and 1 for a whole number."""
    whole = from_tree(Whole, {"rate": "1e-4", "part": {"share": 1}, "weights": {"a": 2}}, "FILE")
    assert whole.rate == 1e-4
    assert (type(whole.part.share), type(whole.weights["a"])) == (float, float)


def test_defaults_of_lists_are_not_shared():
    one, other = Whole(), Whole()
    one.names.append("b")
    assert other.names == ["a"]


def test_no_default_is_outside_its_own_range():
    def check(kind):
        for field in dataclasses.fields(kind):
            value = getattr(kind(), field.name)
            if dataclasses.is_dataclass(value):
                check(type(value))
            else:
                assert field.metadata.get("allowed", Allowed()).fix(value) is None, f"{kind.__name__}.{field.name}"
                assert field.metadata["help"], f"{kind.__name__}.{field.name} has no help"

    commands = [each for each in vars(schema).values() if dataclasses.is_dataclass(each)]
    for kind in (*commands, *FAMILY_SETTINGS):
        check(kind)


# ------------------------------------------------------------------ families


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"name": "mobilenet_unet", "encoder": "vgg16"}, "unknown setting 'model.encoder' of mobilenet_unet"),
        ({"name": "yolov8", "head": "classes"}, "unknown setting 'model.head' of yolov8"),
        ({"name": "densenet121", "alpha": 0.5}, "unknown setting 'model.alpha' of densenet121"),
        ({"name": "fcnn", "weights": "imagenet"}, "unknown setting 'model.weights' of fcnn"),
        ({"name": "yolov9"}, "model.name: unknown model 'yolov9'; did you mean 'yolov8'?"),
        ({"name": "densenet121", "pooling": "avg"}, "model.pooling: 'avg' is not allowed"),
    ],
)
def test_a_setting_of_another_family_is_an_unknown_key(model, says):
    with pytest.raises(BadInput) as caught:
        from_tree(schema.Experiment, {"model": model}, "FILE")
    [fault] = caught.value.faults
    assert says in str(fault)


def test_families_that_share_a_setting_share_its_type():
    """A command line is read before its family is known."""
    kinds: dict[str, set] = {}
    for family in FAMILY_SETTINGS:
        for field in dataclasses.fields(family):
            kinds.setdefault(field.name, set()).add(str(typing.get_type_hints(family)[field.name]))
    assert all(len(each) == 1 for each in kinds.values())


def test_known_keys_are_those_of_every_family():
    keys = known_keys(schema.Experiment)
    assert {"model.encoder", "model.alpha", "optimizer.learning_rate"} <= set(keys)
    assert all(type_of(schema.Experiment, key) is not None for key in keys)
    assert type_of(schema.Experiment, "model.mask_losses.dice") is None
    assert type_of(schema.Experiment, "model") is Model
