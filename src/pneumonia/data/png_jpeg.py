"""One PNG or JPEG file to gray 0..255, as a DICOM of the same pixels without a window would be; or one clear fault.

PNG: gray, palette or colour, 1 to 16 bits. JPEG: every process that a DICOM's frame may have, 8 to 16 bits. What holds
for a DICOM (data/dicom_pixels.py) holds here: 8 bits are taken as they are; gray of more bits spans from the least to
the greatest value found; of colour of more bits the upper 8 are kept; colour becomes luma; 8-bit JPEG may be decoded at
a half or a quarter of its size. Transparency, colour profiles and gamma are ignored. An EXIF orientation is honoured:
rows and columns are those of the image as it is shown.
"""

import hashlib
import io
import math
import warnings
from pathlib import Path

import cv2
import numpy as np
import pydicom
from PIL import Image

from pneumonia.data.dicom import LARGEST_SIDE, Header, content_of
from pneumonia.data.dicom_codecs import Unreadable, cause_of, decoded_jpeg, described
from pneumonia.data.dicom_pixels import gray_of
from pneumonia.data.dicom_stored import Stored, decoded_gray
from pneumonia.system.errors import bad_input

SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}

ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {  # value of the tag: how the stored image becomes the one that is shown
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).T,
    8: np.rot90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange rows and columns


def read_gray(path: str | Path, kind: str, size: int = 0) -> tuple[np.ndarray, Header]:
    """A file's pixels and what it says of itself.

    Args:
        kind: a name of SIGNATURES.
        size: a JPEG may be decoded at half or a quarter of its size, but not smaller than `size`; 0: at its full size.

    Returns:
        (rows, columns) uint8 gray, white is dense; and the header, in which only the size and the checksum are known.

    Raises:
        BadInput: damaged, truncated, too large, or not of that kind.
    """
    content = content_of(Path(path))
    header, orientation = header_of(content, kind, str(path))
    rows, columns = header.rows, header.columns
    if orientation in SIDEWAYS:
        rows, columns = columns, rows
    try:
        stored = stored_jpeg(content, rows, columns, size) if kind == "JPEG" else stored_png(content)
        gray = gray_of(stored, pydicom.Dataset())
    except Unreadable as error:
        raise bad_input(path, str(error), error.fix, code=error.code) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders meet damaged pixels with whatever they stumble over
        what, fix = f"is a damaged {kind} ({cause_of(error)})", "get the file again from where it came from"
        raise bad_input(path, what, fix, code="pixels") from error
    return (UPRIGHT[orientation](gray) if orientation in UPRIGHT else gray), header


def read_header(path: str | Path, kind: str) -> Header:
    """What a file says of itself; its pixels are not decoded. Raises BadInput as `read_gray`."""
    return header_of(content_of(Path(path)), kind, str(path))[0]


def header_of(content: bytes, kind: str, name: str) -> tuple[Header, int]:
    """Header, rows and columns as the image is shown, and EXIF orientation; nothing is decoded before its size has been
    believed."""
    try:
        if kind == "JPEG":
            frame = described(content, "")
            rows, columns = frame.rows, frame.columns
        else:  # the first chunk must be IHDR: length, name, width, height
            if content[12:16] != b"IHDR" or len(content) < 24:
                raise Unreadable("is a damaged PNG (it has no header)")
            rows, columns = int.from_bytes(content[20:24]), int.from_bytes(content[16:20])
    except Unreadable as error:
        raise bad_input(name, str(error), error.fix, code=error.code) from error
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        what = f"claims {rows} rows and {columns} columns"
        raise bad_input(name, what, f"radiographs have 1 to {LARGEST_SIDE} of each", code="size")
    orientation = orientation_of(content)
    if orientation in SIDEWAYS:
        rows, columns = columns, rows
    header = Header(
        patient_id="",
        rows=rows,
        columns=columns,
        sex="",
        age=math.nan,
        view="",
        modality="",
        spacing=math.nan,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return header, orientation


def orientation_of(content: bytes) -> int:
    """EXIF's; 1, upright, where the file says nothing that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "MPO")) as image:
                return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow meets metadata, or a JPEG that it does not know, with whatever its parser stumbles over
        return 1


def stored_png(content: bytes) -> Stored:
    """The values of a PNG. Pillow checks every part's checksum, OpenCV decodes: Pillow cuts 16-bit colour to 8 bits.

    Raises:
        Exception: of any kind where the file is truncated or damaged.
    """
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.verify()
    codes = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if codes is None:
        raise Unreadable("is a damaged PNG (its pixels end too early)")
    if codes.ndim == 3:
        codes = codes[..., 2::-1]  # OpenCV's order is blue, green, red, alpha
    return Stored(codes, 8 * codes.itemsize, is_signed=False, is_8_bit=codes.dtype == np.uint8)


def stored_jpeg(content: bytes, rows: int, columns: int, size: int) -> Stored:
    """The values of a JPEG, rows and columns as they lie in the file. Raises Unreadable."""
    frame = described(content, "")
    if frame.samples not in (1, 3):
        raise Unreadable(f"is a JPEG of {frame.samples} colours, as for print", "save it as gray or RGB", "colour")
    if frame.is_gray_ready:
        return Stored(decoded_gray(content, rows, columns, size), 8, False, frame.samples == 3, True)
    codes = decoded_jpeg(content, frame)
    bits = frame.bits if codes.ndim == 3 else 8 * codes.itemsize  # of gray the values found decide
    return Stored(codes, bits, is_signed=False, is_8_bit=frame.bits == 8)
