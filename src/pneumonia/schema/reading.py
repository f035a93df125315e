"""Nested dictionaries, of YAML or of a command line, into settings: every key, type and range is checked."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from pneumonia.schema.models import FAMILIES, Classifier, MobileNetClassifier, Model
from pneumonia.schema.setting import Allowed, nearest
from pneumonia.system.errors import BadInput, Fault, bad_input

MEANINGS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list: [a,b]",
    dict: "a mapping: {name: value}",
}
FAMILY_SETTINGS = (*dict.fromkeys(each.settings for each in FAMILIES.values()), Classifier, MobileNetClassifier)


class WrongType(Exception):
    """A value of another type than its setting has; `wanted` says which."""

    def __init__(self, wanted: str):
        super().__init__(wanted)
        self.wanted = wanted


def from_tree(schema: type, tree: object, file: str) -> Any:
    """Settings of type `schema` from nested dictionaries; what these leave out keeps its default.

    Raises:
        BadInput: every unknown key (the nearest is named), value of the wrong type and value out of range; `file` is
            where they stand.
    """
    faults: list[Fault] = []
    settings = read(schema, tree, file, "", faults)
    if faults:
        raise BadInput(faults)
    return settings


def read(kind: type, tree: object, file: str, prefix: str, faults: list[Fault]) -> Any:
    """A dataclass from a dictionary; what is wrong is added to `faults`."""
    if not isinstance(tree, Mapping):
        what = f"{prefix.rstrip('.')}: " if prefix else ""
        faults += bad_input(file, f"{what}{tree!r} is no mapping", "write its settings as {key: value}").faults
        return kind()
    if hasattr(kind, "kind_for"):
        try:
            kind = kind.kind_for(tree)
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
            values[name] = read(hints[name], value, file, f"{key}.", faults)
        elif (entry := entry_of(hints[name])) is not None and isinstance(value, list):
            values[name] = [read(entry, each, file, f"{key}[{row}].", faults) for row, each in enumerate(value)]
        else:
            allowed = fields[name].metadata.get("allowed", Allowed())
            try:
                values[name] = converted(hints[name], value)
                if fix := allowed.fix(values[name]):
                    faults += bad_input(file, f"{key}: {in_words(values[name])} is not allowed", fix).faults
            except WrongType as error:
                fix = f"give {error.wanted}" + (f", {allowed.range}" if allowed.range else "")
                faults += bad_input(file, f"{key}: {in_words(value)} has the wrong type", fix).faults
    return kind(**values)


def entry_of(hint: Any) -> type | None:
    """The dataclass of which a list is made, if it is made of one."""
    entries = typing.get_args(hint) if typing.get_origin(hint) is list else ()
    return entries[0] if entries and dataclasses.is_dataclass(entries[0]) else None


def converted(kind: Any, value: Any) -> Any:
    """The value as its type has it: whole numbers are numbers too, and so is 1e-4, which YAML takes for text.

    Raises WrongType.
    """
    if kind is Any:
        return value
    if isinstance(kind, types.UnionType):
        for each in typing.get_args(kind):
            try:
                return converted(each, value)
            except WrongType:
                continue
        raise WrongType(meaning(kind))
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    try:
        if origin is list and isinstance(value, list):
            return [converted(inner[0], each) for each in value] if inner else value
        if origin is dict and isinstance(value, Mapping):
            return (
                {converted(inner[0], key): converted(inner[1], each) for key, each in value.items()} if inner else value
            )
    except WrongType as error:
        raise WrongType(f"{meaning(origin)} of {error.wanted.removeprefix('a ')}") from None
    if origin is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise WrongType(meaning(float)) from None
    if type(value) is not origin or origin in (list, dict):
        raise WrongType(meaning(origin))
    return value


def meaning(kind: Any) -> str:
    """A type in words, as a message and the documentation have it."""
    if isinstance(kind, types.UnionType):
        return ", or ".join(dict.fromkeys(meaning(each) for each in typing.get_args(kind)))
    return MEANINGS.get(typing.get_origin(kind) or kind, "a value of another type")


def in_words(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    return f"{value:g}" if isinstance(value, float) else repr(value)


# ------------------------------------------------------------------ keys


def known_keys(schema: type, prefix: str = "") -> list[str]:
    """Every dotted key of a schema, groups included; of a model those of every family."""
    keys = []
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        keys.append(prefix + field.name)
        if hints[field.name] is Model:
            every = (known_keys(kind, f"{prefix}{field.name}.") for kind in FAMILY_SETTINGS)
            keys += dict.fromkeys(key for each in every for key in each)
        elif dataclasses.is_dataclass(hints[field.name]):
            keys += known_keys(hints[field.name], f"{prefix}{field.name}.")
    return keys


def type_of(schema: type, key: str) -> Any:
    """The type of a dotted key; None where the schema has no such key. A family's settings share their types."""
    name, dot, rest = key.partition(".")
    hints = typing.get_type_hints(schema)
    if name not in {field.name for field in dataclasses.fields(schema)}:
        return None
    if not dot:
        return hints[name]
    if not dataclasses.is_dataclass(hints[name]):
        return None
    kinds = FAMILY_SETTINGS if hints[name] is Model else (hints[name],)
    return next((found for kind in kinds if (found := type_of(kind, rest)) is not None), None)


@functools.cache
def dict_settings(schema: type) -> list[str]:
    """Dotted keys of the settings that are dictionaries themselves: each is one value, not a group of settings."""
    return [key for key in known_keys(schema) if typing.get_origin(type_of(schema, key)) is dict]
