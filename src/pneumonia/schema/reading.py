"""Reads nested dictionaries, from YAML or a command line, into settings, and checks every key, type and range."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from pneumonia.schema.models import FAMILIES, Classifier, MobileNetClassifier, Model
from pneumonia.schema.setting import Allowed, nearest
from pneumonia.system.errors import BadInput, Fault, bad_input

TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list: [a,b]",
    dict: "a mapping: {name: value}",
}
FAMILY_SETTINGS = (*dict.fromkeys(each.settings for each in FAMILIES.values()), Classifier, MobileNetClassifier)


class WrongType(Exception):
    """A value has another type than its setting; `expected` describes the setting's."""

    def __init__(self, expected: str):
        super().__init__(expected)
        self.expected = expected


def from_tree(schema: type, tree: object, file: str) -> Any:
    """Read settings of type `schema` from nested dictionaries; settings that these leave out keep their defaults.

    Args:
        file: where the dictionaries come from, for messages.

    Raises:
        BadInput: all unknown keys (with the nearest known one), values of the wrong type and values out of range.
    """
    faults: list[Fault] = []
    settings = read_dataclass(schema, tree, file, "", faults)
    if faults:
        raise BadInput(faults)
    return settings


def read_dataclass(kind: type, tree: object, file: str, prefix: str, faults: list[Fault]) -> Any:
    """Read a dataclass from a dictionary; faults are appended to `faults`."""
    if not isinstance(tree, Mapping):
        what = f"{prefix.rstrip('.')}: " if prefix else ""
        faults += bad_input(file, f"{what}{tree!r} is not a mapping", "write its settings as {key: value}").faults
        return kind()
    if hasattr(kind, "class_for"):
        try:
            kind = kind.class_for(tree)
        except BadInput as error:
            faults += error.faults
            return kind()
    hints, fields, values = typing.get_type_hints(kind), {each.name: each for each in dataclasses.fields(kind)}, {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if name not in fields:
            owner = f" of {tree['name']}" if issubclass(kind, Model) and "name" in tree else ""
            fix = nearest(str(name), list(fields), prefix)
            faults += bad_input(file, f"unknown setting '{key}'{owner}", fix).faults
        elif dataclasses.is_dataclass(hints[name]):
            values[name] = read_dataclass(hints[name], value, file, f"{key}.", faults)
        elif (item_type := list_item_type(hints[name])) is not None and isinstance(value, list):
            values[name] = [
                read_dataclass(item_type, item, file, f"{key}[{index}].", faults) for index, item in enumerate(value)
            ]
        else:
            allowed = fields[name].metadata.get("allowed", Allowed())
            try:
                values[name] = convert(hints[name], value)
                if fix := allowed.fix(values[name]):
                    faults += bad_input(file, f"{key}: {format_value(values[name])} is not allowed", fix).faults
            except WrongType as error:
                fix = f"give {error.expected}" + (f", {allowed.range_text}" if allowed.range_text else "")
                faults += bad_input(file, f"{key}: {format_value(value)} has the wrong type", fix).faults
    return kind(**values)


def list_item_type(hint: Any) -> type | None:
    """The dataclass of a list's items; None for another type, or a list of other items."""
    items = typing.get_args(hint) if typing.get_origin(hint) is list else ()
    return items[0] if items and dataclasses.is_dataclass(items[0]) else None


def convert(kind: Any, value: Any) -> Any:
    """Convert a value to its setting's type. A float may be a whole number, or text: YAML reads 1e-4 as text.

    Raises WrongType.
    """
    if kind is Any:
        return value
    if isinstance(kind, types.UnionType):
        for each in typing.get_args(kind):
            try:
                return convert(each, value)
            except WrongType:
                continue
        raise WrongType(describe_type(kind))
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    try:
        if origin is list and isinstance(value, list):
            return [convert(inner[0], each) for each in value] if inner else value
        if origin is dict and isinstance(value, Mapping):
            return {convert(inner[0], key): convert(inner[1], each) for key, each in value.items()} if inner else value
    except WrongType as error:
        raise WrongType(f"{describe_type(origin)} of {error.expected.removeprefix('a ')}") from None
    if origin is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise WrongType(describe_type(float)) from None
    if type(value) is not origin or origin in (list, dict):
        raise WrongType(describe_type(origin))
    return value


def describe_type(kind: Any) -> str:
    """The name of a type in messages and in the documentation."""
    if isinstance(kind, types.UnionType):
        return ", or ".join(dict.fromkeys(describe_type(each) for each in typing.get_args(kind)))
    return TYPE_NAMES.get(typing.get_origin(kind) or kind, "a value of another type")


def format_value(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    return f"{value:g}" if isinstance(value, float) else repr(value)


# ------------------------------------------------------------------ keys


def known_keys(schema: type, prefix: str = "") -> list[str]:
    """All dotted keys of a schema, groups included; for a model the keys of all families."""
    keys = []
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        keys.append(prefix + field.name)
        if hints[field.name] is Model:
            families = (known_keys(kind, f"{prefix}{field.name}.") for kind in FAMILY_SETTINGS)
            keys += dict.fromkeys(key for family in families for key in family)
        elif dataclasses.is_dataclass(hints[field.name]):
            keys += known_keys(hints[field.name], f"{prefix}{field.name}.")
    return keys


def type_of(schema: type, key: str) -> Any:
    """The type of a dotted key; None where the schema has no such key. A setting has the same type in all families."""
    name, dot, rest = key.partition(".")
    hints = typing.get_type_hints(schema)
    if name not in {field.name for field in dataclasses.fields(schema)}:
        return None
    if not dot:
        return hints[name]
    if not dataclasses.is_dataclass(hints[name]):
        return None
    kinds = FAMILY_SETTINGS if hints[name] is Model else (hints[name],)
    return next((hint for kind in kinds if (hint := type_of(kind, rest)) is not None), None)


@functools.cache
def dict_settings(schema: type) -> list[str]:
    """Dotted keys of settings whose value is a dictionary: one value, not a group of settings."""
    return [key for key in known_keys(schema) if typing.get_origin(type_of(schema, key)) is dict]
