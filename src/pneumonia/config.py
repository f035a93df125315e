"""Settings (schema/) read from experiments/ and from key=value on the command line.

A command's settings are one dataclass. An unknown key is an error that names the nearest known one, a value of the
wrong type or out of range an error that says what is taken. Text values are taken literally (`data=~/rsna (1)` is a
path with a space and brackets), everything else is YAML (`members=[a.csv,b.csv]`, `optimizer.learning_rate=1e-3`).

YAML is imported where it is used: `--help` works before anything is installed.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from pneumonia.schema import Experiment, Train, from_tree
from pneumonia.schema.models import Pretrained, settings_of
from pneumonia.schema.reading import dict_settings, known_keys, type_of
from pneumonia.schema.setting import nearest
from pneumonia.system.errors import BadInput, bad_input

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = REPOSITORY / "experiments"


def user_path(text: str) -> Path:
    """A path as a person writes it: `~` is expanded, relative means relative to the caller's folder."""
    return Path(text).expanduser().absolute()


def required_path(text: str, key: str, what: str) -> Path:
    """A setting that must be given, as a path. Raises BadInput where it is empty."""
    if not text:
        raise bad_input("command line", f"{key}= is missing", f"give {key}=FILE, {what}")
    return user_path(text)


# ------------------------------------------------------------------ command lines


def from_arguments(schema: type, arguments: list[str]) -> Any:
    """Settings of type `schema` from `key=value` words over the schema's defaults; for `train`, over its experiment.

    Raises:
        BadInput: an argument without `=`, an unknown key (the nearest is named), a value of the wrong type or range.
    """
    tree = tree_of(schema, arguments)
    if schema is Train:
        name, preset = given_text(tree, "experiment"), Train(**of_data(tree)).chosen_preset()
        experiment = as_tree(read_experiment(name, preset))
        family = given_text(tree["model"], "name") if isinstance(tree.get("model"), dict) else ""
        if family and family != experiment["model"]["name"]:
            # another family on the command line: of the experiment's own settings it takes those that it knows
            known = {field.name for field in dataclasses.fields(settings_of(family))}
            experiment["model"] = {key: value for key, value in experiment["model"].items() if key in known}
        tree = merge(experiment, tree)
    return from_tree(schema, tree, "command line")


def of_data(tree: dict) -> dict:
    """What chooses the preset, checked before the experiment is read with it."""
    settings = from_tree(Train, {key: tree[key] for key in ("data", "preset") if key in tree}, "command line")
    return {"data": settings.data, "preset": settings.preset}


def given_text(tree: dict, key: str) -> str:
    value = tree.get(key, "")
    return value if isinstance(value, str) else str(value)


def tree_of(schema: type, arguments: list[str]) -> dict:
    """`key=value` words as nested dictionaries: text as it is, everything else read as YAML. Raises BadInput."""
    import yaml

    tree: dict = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise bad_input("command line", f"'{argument}' is no setting", "write it as key=value")
        kind, parent = type_of(schema, key), key.rpartition(".")[0]
        if parent and not dataclasses.is_dataclass(type_of(schema, parent)):
            raise unknown_key(key, known_keys(schema), "command line")
        try:
            put(tree, key, text if kind is str else yaml.safe_load(text))
        except yaml.YAMLError as error:
            what, fix = f"{key}: '{text}' cannot be read as YAML", "quote it, or close the brackets"
            raise bad_input("command line", what, fix) from error
    return tree


def put(tree: dict, key: str, value: Any) -> None:
    """Set a dotted key in nested dictionaries."""
    *parents, last = key.split(".")
    for parent in parents:
        branch = tree.get(parent)
        tree[parent] = dict(branch) if isinstance(branch, dict) else {}
        tree = tree[parent]
    tree[last] = value


def unknown_key(key: str, known: list[str], file: str) -> BadInput:
    return bad_input(file, f"unknown setting '{key}'", nearest(key, known))


# ------------------------------------------------------------------ experiments


def experiment_names() -> list[str]:
    """Names that `experiment=` takes: experiments/NAME.yaml, and report/NAME for the report's rows."""
    files = [*EXPERIMENTS.glob("*.yaml"), *EXPERIMENTS.glob("report/*.yaml")]
    names = (path.relative_to(EXPERIMENTS).with_suffix("").as_posix() for path in files)
    return sorted(name for name in names if name != "defaults")


def read_experiment(name: str, preset: str, overrides: dict | None = None) -> Experiment:
    """experiments/defaults.yaml, then the experiment's file, then what each says of the preset, then overrides.

    Raises:
        BadInput: no such experiment (the list is given), or a key or value that the schema refuses.
    """
    if name not in experiment_names():
        raise bad_input(
            "experiment", f"there is no experiment '{name}'", f"known experiments: {', '.join(experiment_names())}"
        )
    files = [read_yaml(EXPERIMENTS / "defaults.yaml"), read_yaml(EXPERIMENTS / f"{name}.yaml")]
    presets = [content.pop("presets", {}).get(preset) or {} for content in files]
    tree: dict = {}
    for content in (*files, *presets):
        tree = merge(tree, content)
    return with_absolute_paths(from_tree(Experiment, merge(tree, overrides or {}), f"experiments/{name}.yaml"))


def experiment_of(settings: Train) -> Experiment:
    """The experiment that a `train` command line amounts to."""
    tree = as_tree(settings)
    own = {field.name: tree[field.name] for field in dataclasses.fields(Experiment)}
    return with_absolute_paths(from_tree(Experiment, own, "command line"))


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """Paths of weights that mean the same from any folder: `rerun` may be called from another one."""
    model = experiment.model
    if not isinstance(model, Pretrained):
        return experiment
    is_file = model.weights not in ("", "none", "imagenet", "chexnet") and not model.weights.startswith("run:")
    model = dataclasses.replace(
        model,
        weights=str(user_path(model.weights)) if is_file else model.weights,
        weights_folder=str(user_path(model.weights_folder)) if model.weights_folder else "",
    )
    return dataclasses.replace(experiment, model=model)


def experiment_label(name: str, preset: str, experiment: Experiment) -> str:
    """The experiment's part of a run's path: its name, its preset, and a short hash of what the command line changed,
    so that two different settings never share a path."""
    changed = difference(as_tree(read_experiment(name, preset)), as_tree(experiment))
    changed.pop("loaders", None)  # who makes the batches does not change them
    label = name if preset == "full" else f"{name}-{preset}"
    return f"{label}-{short_hash(changed)}" if changed else label


def difference(a: dict, b: dict, prefix: str = "") -> dict:
    """Dotted keys whose values differ, with the value in `b` (None where `b` lacks the key)."""
    changed: dict = {}
    for key in sorted({*a, *b}):
        one, other = a.get(key), b.get(key)
        if isinstance(one, dict) and isinstance(other, dict) and prefix + key not in dict_settings(Experiment):
            changed |= difference(one, other, f"{prefix}{key}.")
        elif one != other:
            changed[prefix + key] = other
    return changed


def value_at(tree: dict, key: str) -> Any:
    """What nested dictionaries have under a dotted key; None where they lack it."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def read_ensemble(name: str) -> dict:
    """experiments/ensembles/NAME.yaml: `members`, a list of experiments, and `recipe`, where the search starts.

    Raises:
        BadInput: no such ensemble (the list is given), an unknown key, or a member that is no experiment.
    """
    known = sorted(path.stem for path in (EXPERIMENTS / "ensembles").glob("*.yaml"))
    if name not in known:
        raise bad_input("ensemble", f"there is no ensemble '{name}'", f"known ensembles: {', '.join(known)}")
    file = f"experiments/ensembles/{name}.yaml"
    content = read_yaml(REPOSITORY / file)
    for key in content:
        if key not in ("members", "recipe"):
            raise unknown_key(key, ["members", "recipe"], file)
    for member in content.get("members") or []:
        if member not in experiment_names():
            known_names = ", ".join(experiment_names())
            raise bad_input(file, f"there is no experiment '{member}'", f"known experiments: {known_names}")
    return content


def read_yaml(file: Path) -> dict:
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        row = mark.line + 1 if mark else None
        raise bad_input(file, "is no valid YAML", "correct the line", row=row) from error


def merge(tree: dict, over: dict, prefix: str = "") -> dict:
    """Nested dictionaries of settings, `over` winning."""
    merged = dict(tree)
    for key, value in over.items():
        groups = isinstance(merged.get(key), dict) and isinstance(value, dict)
        groups = groups and prefix + key not in dict_settings(Experiment)
        merged[key] = merge(merged[key], value, f"{prefix}{key}.") if groups else value
    return merged


def as_tree(settings: Any) -> dict:
    """Settings as nested plain dictionaries, to write or to hash."""
    return dataclasses.asdict(settings)


def short_hash(value: Any) -> str:
    """Eight hex digits that name a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
