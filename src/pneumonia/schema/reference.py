"""Settings as rows of text: for `--help`, and for docs/commands.md."""

import dataclasses
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass

from pneumonia.schema.models import FAMILIES, Classifier, MobileNetClassifier, Model
from pneumonia.schema.reading import describe_type
from pneumonia.schema.setting import Allowed

# one heading for all families that share their settings
SECTIONS = {
    Classifier: "a backbone of keras.applications, or chexnet",
    MobileNetClassifier: "mobilenet, mobilenetv2, mobilenetv3small, mobilenetv3large",
    **{
        kind: ", ".join(name for name, other in FAMILIES.items() if other.settings is kind)
        for kind in dict.fromkeys(each.settings for each in FAMILIES.values())
        if kind is not Classifier
    },
}


@dataclass(frozen=True)
class Entry:
    """One setting; or, where `family` is set, a heading: the entries up to the next heading belong to that family."""

    key: str
    kind: str = ""
    value: str = ""
    allowed: str = ""
    help: str = ""
    family: str = ""


def entries(settings: object, prefix: str = "") -> Iterator[Entry]:
    """Yield a command's settings with their values; those of all families come last where no model is named."""
    hints = typing.get_type_hints(type(settings))
    needs_model = False
    for field in dataclasses.fields(settings):
        key, value = f"{prefix}{field.name}", getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from entries(value, f"{key}.")
            needs_model = needs_model or type(value) is Model
            continue
        allowed, about = field.metadata.get("allowed", Allowed()), field.metadata.get("help", "")
        text = value if isinstance(value, str) else json.dumps(value)  # as a command line takes it
        yield Entry(key, describe_type(hints[field.name]), text, str(allowed), about)
    if needs_model:
        for kind, names in SECTIONS.items():
            yield Entry("", family=f"model.name={names}")
            yield from (each for each in entries(kind(), f"{prefix}model.") if not each.key.endswith("model.name"))
