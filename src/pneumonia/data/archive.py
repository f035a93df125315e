"""The competition's zip as downloaded, instead of a folder: it is listed, refused if unsafe, and unpacked once.

Zips inside it are unpacked too, because Kaggle serves single files as zips (stage_2_train_images.zip).
"""

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pneumonia import config
from pneumonia.boxes.image_ids import STAGE_1_FILES
from pneumonia.data.image_kinds import SUFFIXES
from pneumonia.system.errors import BadInput, EnvironmentFailure, Fault, bad_input
from pneumonia.system.progress import progress

TABLES = (".csv", ".json")
KEPT_SUFFIXES = (*SUFFIXES, *TABLES, ".zip")  # of members that are unpacked; others stay in the zip
MAX_BYTES = 64 * 2**30  # bytes; the competition unpacks to 4 GB
MAX_DEPTH = 3  # zips inside each other


def unpack_once(archive: Path, cache: Path) -> Path:
    """Unpack a zip to a folder under `cache`, once for the same members and checksums; returns the folder.

    Raises:
        BadInput: not a zip, or a zip with absolute paths, paths outside the folder or links, or too large; all faults.
        EnvironmentFailure: the disk is too full.
    """
    members = list_members(archive, archive)
    key = config.short_hash([(member.filename, member.file_size, member.CRC) for member in members])
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
        if not folder.is_dir():  # otherwise another process was faster, and its folder is used
            text = f"{temporary}: cannot be written: {error.strerror}; free space and run it again"
            raise EnvironmentFailure(text) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def list_members(file: Path, archive: Path) -> list[zipfile.ZipInfo]:
    """The members of a zip that are unpacked. Errors name `archive`, the zip that the user gave."""
    try:
        with zipfile.ZipFile(file) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise zip_error(file, archive, error) from error
    faults = find_faults(members, archive)
    if faults:
        raise BadInput(faults)
    return [member for member in members if not member.is_dir() and belongs(path_of(member))]


def zip_error(file: Path, archive: Path, error: Exception) -> BadInput:
    member = "" if file == archive else f"the zip {file.name} inside "
    return bad_input(archive, f"{member}cannot be read as a zip ({error})", "download it again", code="zip")


def path_of(member: zipfile.ZipInfo) -> PurePosixPath:
    """A member's path; some programs on Windows write backslashes instead of slashes."""
    return PurePosixPath(member.filename.replace("\\", "/"))


def belongs(path: PurePosixPath) -> bool:
    """Whether a member is an image, a table or a zip, and not a companion that macOS adds (__MACOSX/._NAME)."""
    is_companion = path.name.startswith("._") or "__MACOSX" in path.parts
    is_image = not path.suffix and path.parent.name.lower().endswith("images")  # known by its first bytes
    return (path.name.lower().endswith(KEPT_SUFFIXES) or is_image or path.name in STAGE_1_FILES) and not is_companion


def find_faults(members: list[zipfile.ZipInfo], archive: Path) -> list[Fault]:
    """Faults of a zip, member by member, from its list alone."""
    faults = []
    for member in members:
        path, what = path_of(member), None
        if path.is_absolute() or (path.parts and ":" in path.parts[0]):
            what = "is an absolute path"
        elif ".." in path.parts:
            what = "is a path outside the folder"
        elif not path.parts:
            what = "is not a file name"
        elif stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "is a link or a device"
        elif member.flag_bits & 1:
            what = "is encrypted"
        if what:
            fix = "download the zip from the competition's page"
            faults.append(Fault("zip-member", str(archive), None, f"member '{member.filename[:120]}' {what}", fix))
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES:
        faults.append(
            Fault(
                "zip-size",
                str(archive),
                None,
                f"unpacks to {total} bytes",
                "take the competition's zip, which unpacks to 4 GB",
            )
        )
    return faults


def unpack(file: Path, folder: Path, archive: Path, depth: int = 1) -> None:
    """Unpack a zip into `folder`, and every zip inside it."""
    members = list_members(file, archive)
    total, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    if total > free:
        raise EnvironmentFailure(f"{folder.parent}: {file.name} needs {total} bytes there, {free} are free; free space")
    nested: list[Path] = []
    try:
        with zipfile.ZipFile(file) as opened:
            for member in progress(members, f"unpacking {file.name}", unit="file"):
                target = folder / path_of(member)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, open(target, "wb") as out:
                    shutil.copyfileobj(source, out)  # zipfile stops at the size in the list, and checks the CRC
                if target.suffix.lower() == ".zip":
                    nested.append(target)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise zip_error(file, archive, error) from error
    for inner in nested:
        if depth == MAX_DEPTH:
            what = f"has zips inside each other, down to {inner.name}"
            raise bad_input(archive, what, "unpack it and give the folder", code="zip")
        target = target_folder(inner, archive)
        target.mkdir(parents=True, exist_ok=True)
        unpack(inner, target, archive, depth + 1)
        inner.unlink()


def target_folder(nested: Path, archive: Path) -> Path:
    """Where a zip inside another is unpacked: NAME.csv.zip where it is; NAME.zip to NAME/, unless it has NAME/."""
    paths = [path_of(member) for member in list_members(nested, archive)]
    has_own_folder = all(path.parts[0] == nested.stem for path in paths)
    has_tables = all(len(path.parts) == 1 and path.suffix.lower() in TABLES for path in paths)
    return nested.parent if has_own_folder or has_tables else nested.with_suffix("")
