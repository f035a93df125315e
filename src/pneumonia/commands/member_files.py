"""The prediction files of `members=` and `classifiers=`, and the member of a recipe that each of them belongs to."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pneumonia import config
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.progress import say


def named_files(setting: Any, key: str, required: bool = False) -> dict[str, Path]:
    """{name: path} of a setting: of `{name: FILE}` as it is, of `[A.csv,B.csv]` with the texts as names.

    Raises:
        BadInput: a file is given twice or is not a path; there is none, and one is required.
    """
    if isinstance(setting, str):
        setting = [setting] if setting else []
    texts = setting or []
    pairs = list(texts.items()) if isinstance(texts, Mapping) else [(text, text) for text in texts]
    if required and not pairs:
        raise bad_argument(f"{key}= is missing", f"give {key}=[A.csv,B.csv] or {key}={{name: A.csv}}")
    files: dict[str, Path] = {}
    for name, text in pairs:
        if not isinstance(text, str) or not text:
            raise bad_argument(f"{key}: {text!r} is not a path", f"give {key}=[A.csv,B.csv]")
        path = config.user_path(text)
        if any(path.resolve() == other.resolve() for other in files.values()):
            raise bad_argument(f"{key}: {text} is given twice", "give every table once")
        files[str(name)] = path
    return files


def in_recipe_order(setting: Any, names: list[str], key: str) -> dict[str, Path]:
    """The files of a setting, {member: path}, in the order of the recipe's members (or classifiers).

    Files are matched by name (`match_names`). Only a list of files of which none has a member's name is matched by
    position, and a line reports that.

    Args:
        names: the recipe's members, or its classifiers.
        key: the setting's name, for messages.

    Raises:
        BadInput: a member without a file, a file without a member, or a member's file given for another member.
    """
    files = named_files(setting, key, required=key == "members")
    matches = match_names(files, names)
    for name, text in matches.items():
        owner = next((other for other in names if is_file(other, files[text])), name)
        if owner != name:
            raise bad_argument(f"{key}: {files[text]} is given as {name}, but is {owner}", f"give {owner} as {owner}")
    if not isinstance(setting, Mapping) and not matches and len(files) == len(names):
        if len(names) > 1:
            say(f"{key}: no file has the name of a member; taken in the recipe's order: {', '.join(names)}")
        return dict(zip(names, files.values()))
    missing = [name for name in names if name not in matches]
    extra = [text for text in files if text not in matches.values()]
    if missing or extra:
        parts = [f"{len(files)} files, the recipe has {len(names)}"] if len(files) != len(names) else []
        parts += [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"not in the recipe: {', '.join(extra)}"] if extra else []
        pairs = ", ".join(f"{name}: FILE" for name in names)
        raise bad_argument(f"{key}: {'; '.join(parts)}", f"give {key}={{{pairs}}}" if names else f"leave {key}= out")
    return {name: files[matches[name]] for name in names}


def match_names(files: Mapping[str, Path], names: list[str]) -> dict[str, str]:
    """{member: key of its file in `files`}, for members that have one.

    A member's file is the one whose key is the member's name; else the one whose path is that name; else the one with
    the same name without folder and .csv, if only one file and one member have it: a recipe fitted on oof/A.csv is
    applied to test/A.csv.
    """
    matches = {name: name for name in names if name in files}
    matches |= {
        name: text for name in names for text in files if name not in matches and is_file(name, config.user_path(text))
    }
    name_counts, file_counts = Counter(map(stem, names)), Counter(map(stem, files))
    for name in names:
        if name not in matches and name_counts[stem(name)] == file_counts[stem(name)] == 1:
            matches[name] = next(text for text in files if stem(text) == stem(name))
    return matches


def is_file(name: str, path: Path) -> bool:
    """Whether a member's name is the path of this file."""
    return config.user_path(name).resolve() == path.resolve()


def stem(text: str) -> str:
    return Path(text).name.removesuffix(".csv")


def read_all(files: Mapping[str, Path], reader: Callable) -> dict:
    return {name: reader(path) for name, path in files.items()}


def bad_argument(what: str, fix: str) -> BadInput:
    return bad_input("command line", what, fix)
