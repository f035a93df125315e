"""Find the images of a folder, and their ids."""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pneumonia.data.image_kinds import has_image_suffix, kind_of, name_without_suffix
from pneumonia.system.errors import Fault

COMPANIONS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")  # of Windows, macOS and Synology


def is_companion(name: str) -> bool:
    """Whether an operating system made a file or folder for its own use: ._a.dcm, .DS_Store, Thumbs.db."""
    return name.startswith(".") or name.lower() in COMPANIONS


# ------------------------------------------------------------------ a competition's folder of images


@dataclass(frozen=True)
class ImageFolder:
    """files: {patientId: image file} by name. faults: images with two files."""

    files: dict[str, Path]
    faults: list[Fault]


def images_of(folder: Path) -> ImageFolder:
    """The images <patientId>.dcm, .png or .jpg directly in a folder; none where there is no folder.

    The content of a file without an image suffix decides whether it is an image.
    """
    if not folder.is_dir():
        return ImageFolder({}, [])
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not is_companion(entry.name)]
    files: dict[str, list[Path]] = defaultdict(list)
    for name in sorted(names, key=lambda name: (name_without_suffix(name) + ".", name)):
        path = folder / name
        if has_image_suffix(path) or is_image_by_content(path):
            files[name_without_suffix(name)].append(path)
    faults = []
    for image, several in files.items():
        for other in several[1:]:
            what = f"is a second file of image {image}, besides {several[0].name}"
            faults.append(Fault("two-files", str(other), None, what, "keep one of them"))
    return ImageFolder({image: several[0] for image, several in files.items()}, faults)


def is_image_by_content(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode) and kind_of(path) is not None
    except OSError:
        return False


# ------------------------------------------------------------------ any folder


@dataclass(frozen=True)
class FoundImages:
    """files: {id: file}, images by their content or suffix. others: how many files are neither."""

    files: dict[str, Path]
    others: int


def find_images(place: Path, leave_out: Iterable[Path] = ()) -> FoundImages:
    """One file, or all images in a folder and its subfolders, links included; ids by `ids_of`.

    Args:
        leave_out: files to ignore.
    """
    if not place.is_dir():
        return FoundImages({ids_of(place.parent, [place])[place]: place}, 0)
    ignored, files, others = {path.absolute() for path in leave_out}, [], 0
    for path in regular_files(place):
        if path.absolute() in ignored:
            continue
        if has_image_suffix(path) or is_image_by_content(path):
            files.append(path)
        else:
            others += 1
    ids = ids_of(place, sorted(files))
    return FoundImages({ids[path]: path for path in sorted(files)}, others)


def regular_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder except companions; a folder that several links lead to is entered once."""
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        inode = Path(parent).stat()
        if (inode.st_dev, inode.st_ino) in seen:
            folders.clear()
            continue
        seen.add((inode.st_dev, inode.st_ino))
        folders[:] = sorted(name for name in folders if not is_companion(name))
        for name in names:
            path = Path(parent, name)
            if not is_companion(name) and (path.is_file() or path.is_symlink()):
                yield path  # broken links too: reading them reports the fault


def ids_of(root: Path, files: list[Path]) -> dict[Path, str]:
    """The id of each image: its path below `root` without an image suffix, such as `s1/IM-0001`.

    An id does not depend on the other images, with one exception: files of one folder that differ only in their suffix
    (`a.dcm` and `a.png`) keep it.
    """
    whole = {path: os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace") for path in files}
    ids = {path: name_without_suffix(name) for path, name in whole.items()}
    while True:
        counts = Counter(ids.values())
        repeated = [path for path, name in ids.items() if counts[name] > 1 and name != whole[path]]
        if not repeated:
            return ids
        ids.update({path: whole[path] for path in repeated})
