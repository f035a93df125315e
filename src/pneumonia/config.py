"""Reads settings (schema/) from experiments/ and from key=value on the command line.

A command's settings are one dataclass. An unknown key is an error that names the nearest known one; a value of the
wrong type or out of range is an error that names the allowed ones. Text values are taken literally (`data=~/rsna (1)`
is a path with a space and brackets), all others are YAML (`members=[a.csv,b.csv]`, `optimizer.learning_rate=1e-3`).

YAML is imported only where it is used: `--help` works before anything is installed.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from pneumonia.schema import Experiment, Train, from_tree
from pneumonia.schema.commands import PRESETS
from pneumonia.schema.experiment import WITHOUT_EFFECT
from pneumonia.schema.models import Pretrained, settings_of
from pneumonia.schema.reading import dict_settings, known_keys, type_of
from pneumonia.schema.setting import nearest
from pneumonia.system.errors import BadInput, bad_input

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = REPOSITORY / "experiments"


def user_path(text: str) -> Path:
    """The absolute path of a setting: `~` is expanded, and a relative path starts at the caller's folder."""
    return Path(text).expanduser().absolute()


def required_path(text: str, key: str, what: str) -> Path:
    """A setting that must be given, as a path. Raises BadInput where it is empty."""
    if not text:
        raise bad_input("command line", f"{key}= is missing", f"give {key}=FILE, {what}")
    return user_path(text)


# ------------------------------------------------------------------ command lines


def from_arguments(schema: type, arguments: list[str]) -> Any:
    """Read settings of type `schema` from `key=value` arguments; others keep the schema's or the experiment's values.

    Raises:
        BadInput: an argument without `=`, an unknown key (the nearest is named), a value of the wrong type or range.
    """
    tree = parse_arguments(schema, arguments)
    if schema is Train:
        preset = preset_settings(tree).chosen_preset()
        experiment = as_tree(read_experiment(str(tree.get("experiment", "")), preset))
        family = str(tree["model"].get("name", "")) if isinstance(tree.get("model"), dict) else ""
        if family and family != experiment["model"]["name"]:
            # another family on the command line: it takes those of the experiment's model settings that it has
            known = {field.name for field in dataclasses.fields(settings_of(family))}
            experiment["model"] = {key: value for key, value in experiment["model"].items() if key in known}
        tree = merge(experiment, tree)
    return from_tree(schema, tree, "command line")


def preset_settings(tree: dict) -> Train:
    """The settings that choose the preset, checked before the experiment is read with it. Raises BadInput."""
    return from_tree(Train, {key: tree[key] for key in ("data", "preset") if key in tree}, "command line")


def parse_arguments(schema: type, arguments: list[str]) -> dict:
    """Parse `key=value` arguments into nested dictionaries: text as it is, all else as YAML. Raises BadInput."""
    import yaml

    tree: dict = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise bad_input("command line", f"'{argument}' is not a setting", "write it as key=value")
        kind, parent = type_of(schema, key), key.rpartition(".")[0]
        if parent and not dataclasses.is_dataclass(type_of(schema, parent)):
            raise unknown_key(key, known_keys(schema), "command line")
        try:
            set_value(tree, key, text if kind is str else yaml.safe_load(text))
        except yaml.YAMLError as error:
            what, fix = f"{key}: '{text}' cannot be read as YAML", "quote it, or close the brackets"
            raise bad_input("command line", what, fix) from error
    return tree


def set_value(tree: dict, key: str, value: Any) -> None:
    """Set the value of a dotted key in nested dictionaries."""
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
    """All values of `experiment=`: NAME for experiments/NAME.yaml, and report/NAME for the report's rows."""
    files = [*EXPERIMENTS.glob("*.yaml"), *EXPERIMENTS.glob("report/*.yaml")]
    names = (path.relative_to(EXPERIMENTS).with_suffix("").as_posix() for path in files)
    return sorted(name for name in names if name != "defaults")


def read_experiment(name: str, preset: str, overrides: dict | None = None) -> Experiment:
    """Merge experiments/defaults.yaml, the experiment's file, the `preset` section of both, and `overrides`.

    Raises:
        BadInput: no such experiment (the known ones are listed), or a key or value that the schema refuses.
    """
    if name not in experiment_names():
        raise bad_input(
            "experiment", f"there is no experiment '{name}'", f"known experiments: {', '.join(experiment_names())}"
        )
    trees, presets = [], []
    for file in ("defaults", name):
        content = read_yaml(EXPERIMENTS / f"{file}.yaml")
        presets.append(preset_section(content.pop("presets", None), preset, f"experiments/{file}.yaml"))
        trees.append(content)
    tree: dict = {}
    for content in (*trees, *presets):
        tree = merge(tree, content)
    return with_absolute_paths(from_tree(Experiment, merge(tree, overrides or {}), f"experiments/{name}.yaml"))


def preset_section(sections: Any, preset: str, file: str) -> dict:
    """The settings of a preset in the `presets` of a file; every section is checked. Raises BadInput."""
    sections = {} if sections is None else sections
    if not isinstance(sections, dict):
        raise bad_input(file, "presets has no sections", "write presets: {quick: {epochs: 3}}")
    for key, section in sections.items():
        if key not in PRESETS:
            raise bad_input(file, f"there is no preset '{key}'", nearest(str(key), PRESETS))
        if not isinstance(section, dict | None):
            raise bad_input(file, f"the preset {key} has no settings", "write presets: {quick: {epochs: 3}}")
    return sections.get(preset) or {}


def experiment_of(settings: Train) -> Experiment:
    """The experiment of a `train` command line."""
    tree = as_tree(settings)
    tree = {field.name: tree[field.name] for field in dataclasses.fields(Experiment)}
    return with_absolute_paths(from_tree(Experiment, tree, "command line"))


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """The experiment with absolute paths of weights: `rerun` may be called from another folder."""
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
    changed = difference(effective_settings(read_experiment(name, preset)), effective_settings(experiment))
    label = name if preset == "full" else f"{name}-{preset}"
    return f"{label}-{short_hash(changed)}" if changed else label


def effective_settings(experiment: Experiment) -> dict:
    """The settings that the weights and tables of an experiment's runs depend on."""
    return {key: value for key, value in as_tree(experiment).items() if key not in WITHOUT_EFFECT}


def difference(a: dict, b: dict, prefix: str = "") -> dict:
    """Dotted keys whose values differ, with the value in `b` (None where `b` lacks the key)."""
    changed: dict = {}
    for key in sorted({*a, *b}):
        before, now = a.get(key), b.get(key)
        if isinstance(before, dict) and isinstance(now, dict) and prefix + key not in dict_settings(Experiment):
            changed |= difference(before, now, f"{prefix}{key}.")
        elif before != now:
            changed[prefix + key] = now
    return changed


def value_at(tree: dict, key: str) -> Any:
    """The value of a dotted key in nested dictionaries; None where they lack it."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def ensemble_names() -> list[str]:
    return sorted(path.stem for path in (EXPERIMENTS / "ensembles").glob("*.yaml"))


def read_ensemble(name: str) -> dict:
    """Read experiments/ensembles/NAME.yaml: `members`, a list of experiments, and `recipe`, the start of the search.

    Raises:
        BadInput: no such ensemble (the known ones are listed), an unknown key, or a member that is not an experiment.
    """
    known = ensemble_names()
    if name not in known:
        raise bad_input("ensemble", f"there is no ensemble '{name}'", f"known ensembles: {', '.join(known)}")
    file = f"experiments/ensembles/{name}.yaml"
    content = read_yaml(REPOSITORY / file)
    for key in content:
        if key not in ("members", "recipe"):
            raise unknown_key(key, ["members", "recipe"], file)
    members = content.get("members")
    if not members or not isinstance(members, list):
        raise bad_input(file, "has no list of members", "write members: [NAME, NAME], names of experiments")
    for member in members:
        if member not in experiment_names():
            known_names = ", ".join(experiment_names())
            raise bad_input(file, f"there is no experiment '{member}'", f"known experiments: {known_names}")
    return content


def read_yaml(file: Path) -> dict:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        row = mark.line + 1 if mark else None
        raise bad_input(file, "is not valid YAML", "correct the line", row=row) from error
    if not isinstance(content, dict):
        raise bad_input(file, "has no settings", "write one  key: value  a line")
    return content


def merge(tree: dict, over: dict, prefix: str = "") -> dict:
    """Merge nested dictionaries of settings; values in `over` replace those in `tree`."""
    merged = dict(tree)
    for key, value in over.items():
        are_groups = isinstance(merged.get(key), dict) and isinstance(value, dict)
        are_groups = are_groups and prefix + key not in dict_settings(Experiment)
        merged[key] = merge(merged[key], value, f"{prefix}{key}.") if are_groups else value
    return merged


def as_tree(settings: Any) -> dict:
    """Settings as nested dictionaries, to write or to hash."""
    return dataclasses.asdict(settings)


def short_hash(value: Any) -> str:
    """Eight hex digits of the SHA-256 of a value, as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
