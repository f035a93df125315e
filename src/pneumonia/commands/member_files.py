"""Which prediction files a command was given, and which member of a recipe each of them is."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pneumonia import config
from pneumonia.system.errors import BadInput, bad_input
from pneumonia.system.progress import say


def named_files(given: Any, key: str, required: bool = False) -> dict[str, Path]:
    """`[A.csv,B.csv]` by path as given, or `{name: FILE}` by name. Raises BadInput."""
    if isinstance(given, str):
        given = [given] if given else []
    texts = given or []
    pairs = list(texts.items()) if isinstance(texts, Mapping) else [(text, text) for text in texts]
    if required and not pairs:
        raise refusal(f"{key}= is missing", f"give {key}=[A.csv,B.csv] or {key}={{name: A.csv}}")
    named: dict[str, Path] = {}
    for name, text in pairs:
        if not isinstance(text, str) or not text:
            raise refusal(f"{key}: {text!r} is no path", f"give {key}=[A.csv,B.csv]")
        path = config.user_path(text)
        if any(path.resolve() == other.resolve() for other in named.values()):
            raise refusal(f"{key}: {text} is given twice", "give every table once")
        named[str(name)] = path
    return named


def in_recipe_order(given: Any, names: list[str], key: str) -> dict[str, Path]:
    """The files that `key=` gives, by the names of the recipe's members (or classifiers) and in its order.

    Names decide where there are any (`names_known`); only a list of files none of which has a name that the recipe
    knows is taken by position, and a line says so.

    Raises:
        BadInput: a member without a file, a file without a member, a member's own file given for another.
    """
    files = named_files(given, key, required=key == "members")
    by_position = not isinstance(given, Mapping)
    known = names_known(files, names)
    for name, text in known.items():
        owner = next((other for other in names if is_file(other, files[text])), name)
        if owner != name:
            raise refusal(f"{key}: {files[text]} is given as {name}, but is {owner}", f"give {owner} as {owner}")
    if by_position and not known and len(files) == len(names):
        if len(names) > 1:
            say(f"{key}: no file has a name that the recipe knows; taken in its order: {', '.join(names)}")
        return dict(zip(names, files.values()))
    missing = [name for name in names if name not in known]
    extra = [text for text in files if text not in known.values()]
    if missing or extra:
        parts = [f"{len(files)} files, the recipe has {len(names)}"] if len(files) != len(names) else []
        parts += [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"not in the recipe: {', '.join(extra)}"] if extra else []
        pairs = ", ".join(f"{name}: FILE" for name in names)
        raise refusal(f"{key}: {'; '.join(parts)}", f"give {key}={{{pairs}}}" if names else f"leave {key}= out")
    return {name: files[known[name]] for name in names}


def names_known(files: Mapping[str, Path], names: list[str]) -> dict[str, str]:
    """{member: its file's key in `files`} for the files whose name the recipe knows.

    That is a file whose key is the member's name; or, where the keys are paths, whose path it is; or whose key is it
    but for folder and .csv, if no other file and no other member has the same: fitted on oof/A.csv, applied to
    test/A.csv.
    """
    known = {name: name for name in names if name in files}
    known |= {
        name: text for name in names for text in files if name not in known and is_file(name, config.user_path(text))
    }
    of_names, of_files = Counter(map(stem, names)), Counter(map(stem, files))
    for name in names:
        if name not in known and of_names[stem(name)] == of_files[stem(name)] == 1:
            known[name] = next(text for text in files if stem(text) == stem(name))
    return known


def is_file(name: str, path: Path) -> bool:
    """Whether a member's name is the path of this file."""
    return config.user_path(name).resolve() == path.resolve()


def stem(text: str) -> str:
    return Path(text).name.removesuffix(".csv")


def read_all(files: Mapping[str, Path], reader: Callable) -> dict:
    return {name: reader(path) for name, path in files.items()}


def refusal(what: str, fix: str) -> BadInput:
    return bad_input("command line", what, fix)
