"""`./run.sh list`: the names that settings take. `what=commands out=docs/commands.md` writes docs/commands.md."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from pneumonia import config, schema
from pneumonia.commands.table import COMMANDS
from pneumonia.reports.markdown import row, table
from pneumonia.schema.commands import SUBJECTS
from pneumonia.schema.models import EFFICIENTNET_LITE, FAMILIES, PlainClassifier, model_names, settings_of
from pneumonia.schema.reference import entries
from pneumonia.system.errors import bad_input
from pneumonia.system.files import atomic_write


def list_names(settings: schema.List) -> dict:
    """Print names and return {subject: [{"name", "about"}]}; with `out`, write them there, of commands a whole page.

    Raises:
        BadInput: no name matches the filter.
    """
    subjects = [settings.what] if settings.what else list(SUBJECTS)
    pattern = settings.filter or "*"
    names = {
        subject: [{"name": name, "about": about} for name, about in SOURCES[subject]() if fnmatchcase(name, pattern)]
        for subject in subjects
    }
    if not any(names.values()):
        raise bad_input("filter", f"no name matches '{pattern}'", "try *part*, or leave the filter out")
    if settings.what == "commands" and settings.out:
        text = page_of_commands()
    else:
        text = "\n".join(f"{subject}\n{format_rows(rows)}" for subject, rows in names.items() if rows)
    if settings.out:
        with atomic_write(config.user_path(settings.out)) as file:
            file.write(text.rstrip() + "\n")
    else:
        print(text)
    return names


def format_rows(rows: list[dict[str, str]]) -> str:
    return "\n".join(f"  {row['name']:32s} {row['about']}".rstrip() for row in rows) + "\n"


# ------------------------------------------------------------------ subjects


def experiments() -> Iterator[tuple[str, str]]:
    for name in config.experiment_names():
        yield name, first_comment(config.EXPERIMENTS / f"{name}.yaml")


def ensembles() -> Iterator[tuple[str, str]]:
    for file in sorted((config.EXPERIMENTS / "ensembles").glob("*.yaml")):
        yield file.stem, first_comment(file)


def first_comment(file: Path) -> str:
    """The first sentence of the comment that heads a file."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# ").strip())
    return " ".join(lines).split(". ")[0].split(" ./run.sh")[0].rstrip(".:")


def models() -> Iterator[tuple[str, str]]:
    for name in model_names():
        kind = settings_of(name)
        task = "classifier" if issubclass(kind, PlainClassifier) else "localizer"
        if name not in FAMILIES:
            package = "keras-cv" if name in EFFICIENTNET_LITE else "keras.applications"
            yield name, f"{task} on the network of {package}"
            continue
        keys = [entry.key for entry in entries(kind(name)) if entry.key != "name"]
        yield name, f"{task}; model settings: {', '.join(keys)}"


def transforms() -> Iterator[tuple[str, str]]:
    from pneumonia.data.augment import STRENGTHS, TRANSFORMS

    for name, transform in TRANSFORMS.items():
        low, high = transform.limits
        yield name, f"{transform.meaning}; {low:g} to {high:g}, default {transform.default}"
    for name, parts in STRENGTHS.items():
        yield f"augment={name}", f"{parts}"


def tta() -> Iterator[tuple[str, str]]:
    from pneumonia.inference.tta import LARGEST_SHIFT, LARGEST_ZOOM, SMALLEST_ZOOM

    yield "identity", "the image itself"
    yield "flip", "left and right exchanged"
    yield "scale_<factor>", f"zoomed about the centre, {SMALLEST_ZOOM:g} to {LARGEST_ZOOM:g}: scale_0.875"
    yield "shift_<dx>_<dy>", f"moved right and down by 1024ths of the side, at most {LARGEST_SHIFT}: shift_-16_8"
    yield "a+b", "first a, then b: flip+scale_0.875"


def fusions() -> Iterator[tuple[str, str]]:
    from pneumonia.boxes.fusion import CONFIDENCES, METHODS

    for name, method in METHODS.items():
        yield name, method.meaning
    for name in CONFIDENCES:
        yield f"confidence={name}", "of a wbf cluster"


def formats() -> Iterator[tuple[str, str]]:
    from pneumonia.data.formats.registry import FORMATS

    for name, competition_format in FORMATS.items():
        yield name, competition_format.meaning


def commands() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        yield name, command.summary


SOURCES = {
    "experiments": experiments,
    "ensembles": ensembles,
    "models": models,
    "transforms": transforms,
    "tta": tta,
    "fusions": fusions,
    "formats": formats,
    "commands": commands,
}


# ------------------------------------------------------------------ docs/commands.md


def page_of_commands() -> str:
    """The text of docs/commands.md: every command with every setting."""
    lines = [
        "# Commands and settings",
        "",
        "Generated by `./run.sh list what=commands out=docs/commands.md`; a test fails when it is stale.",
        "",
        "A setting is written as `key=value`. `./run.sh COMMAND --help` prints the same as this page;",
        "`./run.sh train experiment=NAME preset=quick --help` prints the values of an experiment.",
    ]
    for name, command in COMMANDS.items():
        call = f"./run.sh {'' if name == 'job' else name + ' '}{command.example}".rstrip()
        title = "The main job" if name == "job" else name
        lines += ["", f"## {title}", "", f"`{call}`: {command.summary}.", "", *HEAD]
        for entry in entries(command.settings()):
            if entry.family:
                lines += ["", f"With {entry.family}:", "", *HEAD]
                continue
            cells = (f"`{entry.key}`", entry.kind, f"`{entry.value}`" if entry.value else "", entry.allowed, entry.help)
            lines.append(row(cells))
    return "\n".join(lines) + "\n"


HEAD = table(("setting", "type", "default", "allowed", "meaning"), []).split("\n")
