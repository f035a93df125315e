"""One PNG or JPEG file to gray 0..255, as a DICOM of the same pixels would be; or one clear fault.

PNG: gray, palette or colour, 1 to 16 bits. Eight bits are taken as they are; 16 bits span from the least to the
greatest value found, as in a DICOM without a window. JPEG: decoded by libjpeg-turbo straight to gray, by the same rule
for scaling as a DICOM's JPEG Baseline frame, so with the same bits. Colour becomes luma. Transparency, colour profiles
and gamma are ignored. An EXIF orientation is honoured: rows and columns are those of the image as it is shown.
"""

import dataclasses
import hashlib
import io
import math
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pneumonia.data.dicom import LARGEST_SIDE, Header, content_of, decoded_jpeg
from pneumonia.system.errors import BadInput, bad_input

SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
FORMATS = {"PNG": ("PNG",), "JPEG": ("JPEG", "MPO")}  # as Pillow names them; MPO is a JPEG with more behind it
JPEG_END = b"\xff\xd9"
AGAIN = "get the file again"

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
    stored = header
    if orientation in SIDEWAYS:
        stored = dataclasses.replace(header, rows=header.columns, columns=header.rows)
    try:
        if kind == "JPEG":
            gray = decoded_jpeg(content[: content.rfind(JPEG_END) + len(JPEG_END)], stored, str(path), size)
        else:
            gray = decoded_png(content)
            if gray.shape != (stored.rows, stored.columns):
                raise ValueError(f"its pixels are {gray.shape[0]} x {gray.shape[1]}")
    except BadInput:
        raise
    except Exception as error:  # decoders meet damaged pixels with whatever they stumble over
        raise bad_input(path, f"is a damaged {kind} ({reason(error)})", AGAIN, code="pixels") from error
    return (UPRIGHT[orientation](gray) if orientation in UPRIGHT else gray), header


def read_header(path: str | Path, kind: str) -> Header:
    """What a file says of itself; its pixels are not decoded. Raises BadInput as `read_gray`."""
    return header_of(content_of(Path(path)), kind, str(path))[0]


def header_of(content: bytes, kind: str, name: str) -> tuple[Header, int]:
    """Header and EXIF orientation; nothing is decoded before its size has been believed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that are not quite standard
            with Image.open(io.BytesIO(content), formats=FORMATS[kind]) as image:
                columns, rows = image.size
                orientation, mode = orientation_of(image), image.mode
    except Image.DecompressionBombError as error:
        what, fix = "is larger than any radiograph", f"radiographs have 1 to {LARGEST_SIDE} rows and columns"
        raise bad_input(name, what, fix, code="size") from error
    except Exception as error:  # Pillow meets a damaged header with whatever its parser stumbles over
        raise bad_input(name, f"is a damaged or unknown kind of {kind}", AGAIN, code="header") from error
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        what = f"claims {rows} rows and {columns} columns"
        raise bad_input(name, what, f"radiographs have 1 to {LARGEST_SIDE} of each", code="size")
    if mode == "CMYK":
        raise bad_input(name, "is a JPEG in the colours of print (CMYK)", "save it as gray or RGB", code="colour")
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


def orientation_of(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # metadata that cannot be parsed say nothing
        return 1


def decoded_png(content: bytes) -> np.ndarray:
    """(rows, columns) uint8. Pillow checks every part's checksum, OpenCV decodes: Pillow cuts 16-bit colour to 8 bits.

    Raises:
        Exception: of any kind where the file is truncated or damaged.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS["PNG"]) as image:
        image.verify()
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("its pixels end too early")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_BGR2GRAY)
    return pixels if pixels.dtype == np.uint8 else spread(pixels)


def spread(values: np.ndarray) -> np.ndarray:
    """uint16 to uint8: the least value becomes 0, the greatest 255; all black where they are the same."""
    low, high = int(values.min()), int(values.max())
    if high == low:
        return np.zeros(values.shape, np.uint8)
    of_value = np.zeros(high + 1)
    of_value[low:] = (np.arange(low, high + 1) - low) * (255.0 / (high - low))
    return np.rint(of_value).astype(np.uint8)[values]


def reason(error: Exception) -> str:
    """The first line of what a decoder says, or the name of its error."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
