"""The kind of an image file by its first bytes, and names of image files. Needs no library that reads images."""

from pathlib import Path

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")  # lower case; such a file is expected to be an image
KINDS = "DICOM, PNG or JPEG"
PREAMBLE = 128  # bytes of a DICOM before its "DICM"
HEAD = PREAMBLE + 4  # bytes that tell the kinds apart
SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
FIRST_GROUPS = (b"\x02\0", b"\x08\0")  # first elements of a DICOM whose preamble is missing


def kind_of(path: str | Path) -> str | None:
    """ "DICOM", "PNG" or "JPEG" by a file's first bytes; None for anything else. A DICOM may lack its preamble.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(HEAD)
    for kind, signature in SIGNATURES.items():
        if head.startswith(signature):
            return kind
    return "DICOM" if head[PREAMBLE:] == b"DICM" or starts_with_an_element(head) else None


def starts_with_an_element(head: bytes) -> bool:
    """Whether bytes start as DICOM elements do: little endian, an early group, then a VR or a small length."""
    has_vr, has_length = head[4:6].isalpha() and head[4:6].isupper(), 0 < int.from_bytes(head[4:8], "little") < HEAD
    return len(head) == HEAD and head[:2] in FIRST_GROUPS and head[3] == 0 and (has_vr or has_length)


def has_image_suffix(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def name_without_suffix(name: str) -> str:
    """A file's name without an image suffix. Other dots stay, such as those of UIDs: 1.2.840.113619."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and (dot + suffix).lower() in SUFFIXES else name
