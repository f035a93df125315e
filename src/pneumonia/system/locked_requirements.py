"""The part of the lock that some packages need, and their wheels."""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from pneumonia.system.errors import EnvironmentFailure, bad_input

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
REQUIREMENT = re.compile(rf"({NAME.pattern})\s*(?:\[([^\]]*)\])?")  # name[extra,extra]
EXTRA_MARKER = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


def direct_requirements(file: Path) -> list[str]:
    """Names of the packages in a requirements.in."""
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    return [normalised(NAME.match(line)[0]) for line in lines if line and not line.startswith(("#", "-"))]


def normalised(name: str) -> str:
    """A package's name as all indices compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def with_dependencies(names: Iterable[str]) -> set[str]:
    """These packages and all that they require, as the installed packages say, with the extras that are asked for."""
    needed: set[tuple[str, str]] = set()  # (name, extra), "" for the package itself
    rest = [(normalised(name), "") for name in names]
    while rest:
        name, extra = rest.pop()
        if (name, extra) in needed:
            continue
        needed.add((name, extra))
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another system
        for text in requirements:
            of_extra = EXTRA_MARKER.search(text)
            if (of_extra[1] if of_extra else "") == extra:
                required, extras = REQUIREMENT.match(text).groups()
                rest += [(normalised(required), each) for each in ("", *(extras or "").replace(" ", "").split(","))]
    return {name for name, _ in needed}


def locked(lock: Path, names: Collection[str]) -> list[str]:
    """The lock's requirements of these packages, each with its marker and hashes, as in a requirements file."""
    blocks = re.split(r"\n(?=\S)", lock.read_text("utf-8").strip())
    return [block for block in blocks if (match := PINNED.match(block)) and normalised(match[1]) in names]


def without_hashes(requirement: str) -> str:
    return requirement.split("\n")[0].rstrip(" \\")


def installed_elsewhere(freeze: Path) -> set[tuple[str, str]]:
    """(name, version) of the lines of `pip freeze`. Raises BadInput for a file that has none."""
    try:
        lines = freeze.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise bad_input(freeze, f"cannot be read: {error}", "give the text that `pip freeze` prints") from error
    found = {(normalised(match[1]), match[2]) for line in lines if (match := PINNED.match(line.strip()))}
    if not found:
        raise bad_input(freeze, "has no line NAME==VERSION", "give the text that `pip freeze` prints")
    return found


def build_wheels(requirements: list[str], folder: Path) -> None:
    """Download the wheels of locked requirements, checked by their hashes; build those that have none.

    Raises:
        EnvironmentFailure: pip could not; its reason stands above.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "requirements.txt"
        file.write_text("\n".join([*requirements, ""]), "utf-8")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--wheel-dir", str(folder), "-r", str(file)]
        code = subprocess.call(command, stdout=subprocess.DEVNULL)  # its errors go to stderr
    if code:
        raise EnvironmentFailure(f"pip could not get the wheels (exit code {code}); its reason is above")
