"""Read an image file of any kind (DICOM, PNG, JPEG): its kind, pixels and header.

The first bytes of a file decide its kind, not its name. A PNG or JPEG has no sex, age, view or person: these fields of
its Header are empty.
"""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.uid import UID

from pneumonia.data import dicom, png_jpeg
from pneumonia.data.dicom import Header
from pneumonia.data.image_kinds import KINDS, SIGNATURES, kind_of
from pneumonia.system.errors import bad_input

SIZE_BYTES = 1 << 14  # of a DICOM that are read to get its size; the competition's headers have about 1 KB


def read_image(path: str | Path, expected_id: str | None = None) -> tuple[np.ndarray, Header]:
    """Read a file at its full size.

    Args:
        expected_id: the PatientID that a DICOM must have; None for any. PNG and JPEG have none.

    Returns:
        (rows, columns) uint8 gray, dense tissue white; and the header.

    Raises:
        BadInput: the file cannot be read; one fault that says why.
    """
    kind = require_kind(path)
    return dicom.read_dicom(path, expected_id) if kind == "DICOM" else png_jpeg.read_gray(path, kind)


def read_scaled(path: str | Path, size: int, expected_id: str | None = None) -> tuple[np.ndarray, Header]:
    """Read a file as a (size, size) uint8 square, by area where it shrinks; factors size / columns and size / rows.

    Raises:
        BadInput: as `read_image`.
    """
    kind = require_kind(path)
    if kind == "DICOM":
        return dicom.read_scaled(path, size, expected_id)
    gray, header = png_jpeg.read_gray(path, kind, size)
    if gray.shape == (size, size):
        return gray, header
    interpolation = cv2.INTER_AREA if size <= min(gray.shape) else cv2.INTER_LINEAR
    return cv2.resize(gray, (size, size), interpolation=interpolation), header


def read_header(path: str | Path, expected_id: str | None = None) -> Header:
    """Read a file's header, without decoding its pixels. Raises BadInput as `read_image`."""
    kind = require_kind(path)
    return dicom.read_header(path, expected_id)[1] if kind == "DICOM" else png_jpeg.read_header(path, kind)


def size_of(path: str | Path) -> tuple[int, int] | None:
    """Rows and columns by a file's header; None where it cannot be read, which `check` reports.

    Only the first bytes of a DICOM are parsed, so that a deflated one cannot inflate.
    """
    try:
        kind = kind_of(path)
        if kind in SIGNATURES:
            header = png_jpeg.read_header(path, kind)
            return header.rows, header.columns
        with open(path, "rb") as file:
            head = io.BytesIO(file.read(SIZE_BYTES))
        header = pydicom.dcmread(head, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        size = int(header.Rows), int(header.Columns)
    except Exception:  # damaged bytes make pydicom raise almost anything
        return None
    return size if min(size) > 0 else None


def require_kind(path: str | Path) -> str:
    """`kind_of`; raises BadInput for a file that is not an image."""
    path = Path(path)
    try:
        kind = kind_of(path)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise bad_input(path, what, "check the file and its permissions", code="unreadable") from error
    if kind is None and path.suffix.lower() in (".dcm", ".dicom"):
        return "DICOM"  # its reader says what is wrong
    if kind is None:
        raise bad_input(path, f"is not a {KINDS} image", "get the file again, or convert it", code="unknown-kind")
    return kind


def is_dicom_without_pixels(path: str | Path) -> bool:
    """Whether a file is a valid DICOM of a class without pixels: a report, a presentation state, a DICOMDIR.

    An image class whose pixels are missing is a damaged image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="End of file reached")
            tags = ["SOPClassUID", "Rows", "Columns"]
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            uid = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    except Exception:  # damaged bytes make pydicom raise almost anything
        return False
    return bool(uid) and "Rows" not in dataset and "Image Storage" not in UID(uid).name
