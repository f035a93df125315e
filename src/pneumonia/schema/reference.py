"""Settings as rows of text: for `--help`, and for docs/commands.md."""

import dataclasses
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass

from pneumonia.schema.models import FAMILIES, Classifier, MobileNetClassifier, Model
from pneumonia.schema.reading import meaning
from pneumonia.schema.setting import Allowed

# families that share their settings, as one heading each
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
    """One setting; or, where `family` is given, a heading: the rows below it, up to the next, are that family's."""

    key: str
    kind: str = ""
    value: str = ""
    taken: str = ""
    help: str = ""
    family: str = ""


def entries(settings: object, prefix: str = "") -> Iterator[Entry]:
    """Rows of a command's settings, with their values; those of models that nobody has chosen yet come last."""
    hints = typing.get_type_hints(type(settings))
    undecided = False
    for field in dataclasses.fields(settings):
        key, value = f"{prefix}{field.name}", getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from entries(value, f"{key}.")
            undecided = undecided or type(value) is Model
            continue
        taken = field.metadata.get("allowed", Allowed())
        yield Entry(key, meaning(hints[field.name]), in_words(value), str(taken), field.metadata.get("help", ""))
    if undecided:
        for kind, names in SECTIONS.items():
            yield Entry("", family=f"model.name={names}")
            yield from (each for each in entries(kind(), f"{prefix}model.") if not each.key.endswith("model.name"))


def in_words(value: object) -> str:
    """As a command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)
