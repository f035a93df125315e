"""Read one PNG or JPEG file to gray 0..255, like a DICOM of the same pixels without a window; or one clear fault.

PNG: gray, palette or colour, 1 to 16 bits. JPEG: every process that a DICOM frame may have, 8 to 16 bits. The rules are
those for DICOM (data/dicom_pixels.py): 8 bits stay as they are; gray of more bits is stretched from its lowest to its
highest value; of colour of more bits the upper 8 are kept; colour becomes luma; 8-bit JPEG may be decoded at a half or
a quarter of its size. Transparency, colour profiles and gamma are ignored. The EXIF orientation is applied: rows and
columns are those of the displayed image.
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

from pneumonia.data.dicom import LARGEST_SIDE, Header, read_content
from pneumonia.data.dicom_codecs import Unreadable, decode_jpeg, error_text, read_frame_header
from pneumonia.data.dicom_pixels import to_gray
from pneumonia.data.dicom_stored import Stored, decode_gray
from pneumonia.system.errors import EnvironmentFailure, bad_input

ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {  # {value of the tag: function from the stored to the displayed image}
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
    """Read a file's pixels and its header.

    Args:
        kind: a name of SIGNATURES.
        size: a JPEG may be decoded at half or a quarter of its size, but not smaller than `size`; 0: at its full size.

    Returns:
        (rows, columns) uint8 gray, dense tissue white; and the header, which has only a size and a checksum.

    Raises:
        BadInput: damaged, truncated, too large, or not of that kind.
    """
    content = read_content(Path(path))
    header, orientation = header_of(content, kind, str(path))
    rows, columns = header.rows, header.columns
    if orientation in SIDEWAYS:
        rows, columns = columns, rows
    try:
        stored = stored_jpeg(content, rows, columns, size) if kind == "JPEG" else stored_png(content)
        gray = to_gray(stored, pydicom.Dataset())
    except Unreadable as error:
        raise bad_input(path, str(error), error.fix, code=error.code) from error
    except MemoryError as error:
        raise EnvironmentFailure(f"{path}: there is not enough memory to decode it") from error
    except Exception as error:  # decoders raise exceptions of many kinds for damaged pixels
        what, fix = f"is a damaged {kind} ({error_text(error)})", "get the file again from where it came from"
        raise bad_input(path, what, fix, code="pixels") from error
    return (UPRIGHT[orientation](gray) if orientation in UPRIGHT else gray), header


def read_header(path: str | Path, kind: str) -> Header:
    """Read a file's header, without decoding its pixels. Raises BadInput as `read_gray`."""
    return header_of(read_content(Path(path)), kind, str(path))[0]


def header_of(content: bytes, kind: str, name: str) -> tuple[Header, int]:
    """The header, with rows and columns of the displayed image, and the EXIF orientation; nothing is decoded.

    Raises:
        BadInput: the size cannot be read, or is too large.
    """
    try:
        if kind == "JPEG":
            frame = read_frame_header(content, "")
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
    """The EXIF orientation; 1 (upright) where there is none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "MPO")) as image:
                return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises exceptions of many kinds for damaged metadata and unknown JPEGs
        return 1


def stored_png(content: bytes) -> Stored:
    """Decode a PNG. Pillow verifies the checksums, OpenCV decodes, because Pillow cuts 16-bit colour to 8 bits.

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
    """Decode a JPEG; rows and columns as stored, before orientation. Raises Unreadable."""
    frame = read_frame_header(content, "")
    if frame.samples not in (1, 3):
        raise Unreadable(f"is a JPEG of {frame.samples} colours, as for print", "save it as gray or RGB", "colour")
    if frame.is_gray_ready:
        return Stored(decode_gray(content, rows, columns, size), 8, False, frame.samples == 3, True)
    codes = decode_jpeg(content, frame)
    bits = frame.bits if codes.ndim == 3 else 8 * codes.itemsize  # for gray, the values decide
    return Stored(codes, bits, is_signed=False, is_8_bit=frame.bits == 8)
