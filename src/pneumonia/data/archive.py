"""The competition's zip as downloaded, in place of a folder: listed first, refused if unsafe, unpacked once."""

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

WANTED = (*SUFFIXES, ".csv", ".json")  # members that a competition has; the rest stays in the zip
LARGEST_MEMBER = 256 * 2**20  # bytes; as data/dicom.py has it, and RSNA's mapping has 17 MB
LARGEST_TOTAL = 64 * 2**30  # bytes; the competition unpacks to 4 GB
LARGEST_RATIO = 200  # unpacked to packed, of members over SMALL: JPEG frames do not shrink, tables about tenfold
SMALL = 2**20


def unpacked(archive: Path, cache: Path) -> Path:
    """The folder that a zip is unpacked to, under `cache`; done once for a zip of the same members and checksums.

    Raises:
        BadInput: not a zip, or one with members that are absolute, climb, are links, collide or are bombs; all at once.
        EnvironmentFailure: the disk is too full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            faults = faults_of(members, archive)
            if faults:
                raise BadInput(faults)
            wanted = [each for each in members if not each.is_dir() and each.filename.lower().endswith(WANTED)]
            key = config.short_hash([(each.filename, each.file_size, each.CRC) for each in wanted])
            folder = cache / f"{archive.stem}-{key}"
            if not folder.is_dir():
                unpack(opened, wanted, archive, folder)
            return folder
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise bad_input(archive, f"cannot be read as a zip ({error})", "download it again", code="zip") from error


def faults_of(members: list[zipfile.ZipInfo], archive: Path) -> list[Fault]:
    """What keeps a zip from being unpacked, member by member; nothing has been read but its list."""
    faults, seen = [], {}
    for member in members:
        name = member.filename
        what = None
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or (path.parts and ":" in path.parts[0]):
            what = "is an absolute path"
        elif ".." in path.parts:
            what = "climbs out of the folder"
        elif "\0" in name or not name:
            what = "is no file name"
        elif stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "is a link or a device"
        elif member.flag_bits & 1:
            what = "is encrypted"
        elif member.file_size > LARGEST_MEMBER:
            what = f"unpacks to {member.file_size} bytes"
        elif member.file_size > SMALL and member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
            what = f"unpacks from {member.compress_size} to {member.file_size} bytes"
        elif str(path).lower() in seen and not member.is_dir():
            what = f"collides with '{seen[str(path).lower()]}'"  # on a disk that ignores case, one replaces the other
        seen.setdefault(str(path).lower(), name)
        if what:
            fix = "take the zip as the competition's page gives it"
            faults.append(Fault("zip-member", str(archive), None, f"member '{name[:120]}' {what}", fix))
    total = sum(member.file_size for member in members)
    if total > LARGEST_TOTAL:
        faults.append(Fault("zip-size", str(archive), None, f"unpacks to {total} bytes", "the competition has 4 GB"))
    return faults


def unpack(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], archive: Path, folder: Path) -> None:
    """Into a temporary folder that takes its name when it is whole; who comes second uses the first one's."""
    total = sum(member.file_size for member in members)
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if total > free:
        raise EnvironmentFailure(
            f"{folder.parent}: {archive.name} needs {total} bytes there, {free} are free; make room"
        )
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for member in progress(members, f"unpacking {archive.name}", unit="file"):
            target = temporary / PurePosixPath(member.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out)  # zipfile stops at the size that the list promised, and checks the CRC
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise EnvironmentFailure(
                f"{temporary}: cannot be written: {error.strerror}; make room and run again"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
