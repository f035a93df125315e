"""The competition's zip as downloaded, in place of a folder: listed first, refused if unsafe, unpacked once.

Zips inside it are unpacked too, as the competition's pages give single files (stage_2_train_images.zip).
"""

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pneumonia import config
from pneumonia.data.image_files import SUFFIXES
from pneumonia.system.errors import BadInput, EnvironmentFailure, Fault, bad_input
from pneumonia.system.progress import progress

TABLES = (".csv", ".json")
WANTED = (*SUFFIXES, *TABLES, ".zip")  # members that a competition has; the rest stays in the zip
LARGEST_TOTAL = 64 * 2**30  # bytes; the competition unpacks to 4 GB
DEEPEST = 3  # zips inside each other


def unpacked(archive: Path, cache: Path) -> Path:
    """The folder that a zip is unpacked to, under `cache`; done once for a zip of the same members and checksums.

    Raises:
        BadInput: not a zip, or one with members that are absolute, climb, are links or too large; all at once.
        EnvironmentFailure: the disk is too full.
    """
    members = members_of(archive, archive)
    key = config.short_hash([(each.filename, each.file_size, each.CRC) for each in members])
    folder = cache / f"{archive.stem}-{key}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=cache))
    try:
        unpack(archive, temporary, archive)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was first, and its folder is used
            text = f"{temporary}: cannot be written: {error.strerror}; make room and run again"
            raise EnvironmentFailure(text) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def members_of(file: Path, archive: Path) -> list[zipfile.ZipInfo]:
    """The members of a zip that a competition has. `archive` is named in errors: the zip that the user gave."""
    try:
        with zipfile.ZipFile(file) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise unreadable(file, archive, error) from error
    faults = faults_of(members, archive)
    if faults:
        raise BadInput(faults)
    return [each for each in members if not each.is_dir() and is_wanted(path_of(each))]


def unreadable(file: Path, archive: Path, error: Exception) -> BadInput:
    inside = "" if file == archive else f"the zip {file.name} inside "
    return bad_input(archive, f"{inside}cannot be read as a zip ({error})", "download it again", code="zip")


def path_of(member: zipfile.ZipInfo) -> PurePosixPath:
    """Some programs on Windows write backslashes where a zip has slashes."""
    return PurePosixPath(member.filename.replace("\\", "/"))


def is_wanted(path: PurePosixPath) -> bool:
    """Not what macOS adds: __MACOSX/._NAME beside every file."""
    is_companion = path.name.startswith("._") or "__MACOSX" in path.parts
    return path.name.lower().endswith(WANTED) and not is_companion


def faults_of(members: list[zipfile.ZipInfo], archive: Path) -> list[Fault]:
    """What keeps a zip from being unpacked, member by member; nothing has been read but its list."""
    faults = []
    for member in members:
        path, what = path_of(member), None
        if path.is_absolute() or (path.parts and ":" in path.parts[0]):
            what = "is an absolute path"
        elif ".." in path.parts:
            what = "climbs out of the folder"
        elif not path.parts:
            what = "is not a file name"
        elif stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "is a link or a device"
        elif member.flag_bits & 1:
            what = "is encrypted"
        if what:
            fix = "take the zip as the competition's page gives it"
            faults.append(Fault("zip-member", str(archive), None, f"member '{member.filename[:120]}' {what}", fix))
    total = sum(member.file_size for member in members)
    if total > LARGEST_TOTAL:
        faults.append(Fault("zip-size", str(archive), None, f"unpacks to {total} bytes", "the competition has 4 GB"))
    return faults


def unpack(file: Path, folder: Path, archive: Path, depth: int = 1) -> None:
    """The members of a zip into `folder`, and of every zip inside it."""
    members = members_of(file, archive)
    total, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    if total > free:
        raise EnvironmentFailure(f"{folder.parent}: {file.name} needs {total} bytes there, {free} are free; make room")
    inside = []
    try:
        with zipfile.ZipFile(file) as opened:
            for member in progress(members, f"unpacking {file.name}", unit="file"):
                target = folder / path_of(member)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, open(target, "wb") as out:
                    shutil.copyfileobj(source, out)  # zipfile stops at the size in the list, and checks the CRC
                if target.suffix.lower() == ".zip":
                    inside.append(target)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise unreadable(file, archive, error) from error
    for each in inside:
        if depth == DEEPEST:
            what = f"has zips inside each other, down to {each.name}"
            raise bad_input(archive, what, "unpack it and give the folder", code="zip")
        place = place_of(each, archive)
        place.mkdir(parents=True, exist_ok=True)
        unpack(each, place, archive, depth + 1)
        each.unlink()


def place_of(inside: Path, archive: Path) -> Path:
    """Where a zip inside another is unpacked: NAME.csv.zip beside it; NAME.zip to NAME/, unless it has that folder."""
    paths = [path_of(member) for member in members_of(inside, archive)]
    has_own_folder = all(path.parts[0] == inside.stem for path in paths)
    has_tables = all(len(path.parts) == 1 and path.suffix.lower() in TABLES for path in paths)
    return inside.parent if has_own_folder or has_tables else inside.with_suffix("")
