"""Which files of a folder are images, and what each is called."""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pneumonia.data.image_files import has_image_suffix, kind_of, name_without_suffix
from pneumonia.system.errors import Fault

COMPANIONS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")  # of Windows, macOS and Synology


def is_companion(name: str) -> bool:
    """Whether a file or folder is what an operating system keeps beside others: ._a.dcm, .DS_Store, Thumbs.db."""
    return name.startswith(".") or name.lower() in COMPANIONS


# ------------------------------------------------------------------ a competition's folder of images


@dataclass(frozen=True)
class ImageFolder:
    """files: {patientId: image file} by name. faults: images that two files claim."""

    files: dict[str, Path]
    faults: list[Fault]


def images_of(folder: Path) -> ImageFolder:
    """The images <patientId>.dcm, .png or .jpg in a folder itself; none where there is no folder.

    A file without an image's suffix counts by its content.
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
            what = f"is a second file of image {image}, beside {several[0].name}"
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
    """files: {id: file} of what is an image by its content or is named like one. others: files that are neither."""

    files: dict[str, Path]
    others: int


def find_images(place: Path, leave_out: Iterable[Path] = ()) -> FoundImages:
    """A file, or all images in a folder and the folders below it, also behind links; ids as `ids_of` gives them.

    Args:
        leave_out: files that are not to be found.
    """
    if not place.is_dir():
        return FoundImages({ids_of(place.parent, [place])[place]: place}, 0)
    unwanted, files, others = {path.absolute() for path in leave_out}, [], 0
    for path in regular_files(place):
        if path.absolute() in unwanted:
            continue
        if has_image_suffix(path) or is_image_by_content(path):
            files.append(path)
        else:
            others += 1
    ids = ids_of(place, sorted(files))
    return FoundImages({ids[path]: path for path in sorted(files)}, others)


def regular_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder but companions; a folder that several links lead to is entered once."""
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        place = Path(parent).stat()
        if (place.st_dev, place.st_ino) in seen:
            folders.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        folders[:] = sorted(name for name in folders if not is_companion(name))
        for name in names:
            path = Path(parent, name)
            if not is_companion(name) and (path.is_file() or path.is_symlink()):
                yield path  # a broken link too: reading it says so


def ids_of(root: Path, files: list[Path]) -> dict[Path, str]:
    """What each image is called: its path below `root`, without an image's suffix, as `s1/IM-0001`.

    So an image's id does not depend on which others are there, but for one case: where files of one folder differ in
    nothing but their suffix (`a.dcm` beside `a.png`), these keep it.
    """
    whole = {path: os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace") for path in files}
    ids = {path: name_without_suffix(name) for path, name in whole.items()}
    while True:
        counts = Counter(ids.values())
        again = [path for path, name in ids.items() if counts[name] > 1 and name != whole[path]]
        if not again:
            return ids
        ids.update({path: whole[path] for path in again})
