"""Read one DICOM file: gray 0..255 and the header fields that the study needs; or one clear fault.

The competition's files hold one JPEG Baseline frame: its bytes go straight to libjpeg-turbo, which may decode at half
or a quarter of the size where that is still large enough (on real radiographs at 512 px the mean difference from full
decoding and area resize was 0.14 gray levels, at most 0.16 in any image). Every other file takes all steps:
dicom_stored.py decodes (with dicom_codecs.py, if compressed), dicom_pixels.py turns the values into gray, as the header
(dicom_display.py) asks. docs/reading.md lists what is read, and how.

Nothing is decoded before its header has been checked: sizes are limited, deflated files are refused.
"""

import hashlib
import io
import math
import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pneumonia.data.ages import years_of
from pneumonia.data.dicom_codecs import OTHER_DECODERS, Unreadable, error_text
from pneumonia.data.dicom_display import DISPLAY_TAGS, display_of
from pneumonia.data.dicom_elements import numbers_of, tag_of, text_of, whole_number_of, word_of
from pneumonia.data.dicom_pixels import to_gray
from pneumonia.data.dicom_stored import frames_of, has_pixels, stored_pixels
from pneumonia.system.errors import EnvironmentFailure, bad_input

LARGEST_SIDE = 8192  # pixels; the largest detectors have about 4,300
LARGEST_FILE = 256 * 2**20  # bytes; an uncompressed 16-bit image of LARGEST_SIDE is half of it
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
PIXEL_TAGS = [tag_of(name) for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")]


@dataclass(frozen=True)
class Header:
    """rows, columns: pixels. sex: M, F or "". age: years as the file has them, NaN where unknown. view: AP, PA or
    "". spacing: mm between pixel centres, NaN where unknown. sha256: of the file."""

    patient_id: str
    rows: int
    columns: int
    sex: str
    age: float
    view: str
    modality: str
    spacing: float
    sha256: str


def read_dicom(path: str | Path, expected_id: str | None = None) -> tuple[np.ndarray, Header]:
    """Read a file at its full size.

    Args:
        expected_id: the PatientID that the file must have, unless it is named by its SOPInstanceUID; None for any.

    Returns:
        (rows, columns) uint8 gray, dense tissue white; and the header.

    Raises:
        BadInput: the file cannot be read; one fault that says why.
        EnvironmentFailure: there is not enough memory.
    """
    dataset, header = read_header(path, expected_id)
    return decode(dataset, header, str(path), 0), header


def read_scaled(path: str | Path, size: int, expected_id: str | None = None) -> tuple[np.ndarray, Header]:
    """Read a file as a (size, size) uint8 square, by area where it shrinks; factors size / columns and size / rows.

    Raises:
        BadInput: as `read_dicom`.
    """
    dataset, header = read_header(path, expected_id)
    gray = decode(dataset, header, str(path), size)
    if gray.shape == (size, size):
        return gray, header
    interpolation = cv2.INTER_AREA if size <= min(gray.shape) else cv2.INTER_LINEAR
    return cv2.resize(gray, (size, size), interpolation=interpolation), header


def read_content(path: Path) -> bytes:
    """A file's bytes, at most LARGEST_FILE. Raises BadInput."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise bad_input(path, "is larger than 256 MiB", "no radiograph is", code="too-large")
        return path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise bad_input(path, what, "check the file and its permissions", code="unreadable") from error


def read_header(path: str | Path, expected_id: str | None = None) -> tuple[pydicom.Dataset, Header]:
    """Read the dataset, without decoding its pixels, and its checked header. Raises BadInput."""
    content, name = read_content(Path(path)), str(path)
    if content[128:132] != b"DICM":
        what, fix = "is not a DICOM file", "give DICOM files only"
        if content[:2] in (b"\x02\0", b"\x08\0", b"\0\x08") and content[4:6].isalpha():
            what, fix = "is DICOM without its preamble", "write it as a DICOM file (dcmconv)"
        raise bad_input(name, what, fix, code="not-dicom")
    if DeflatedExplicitVRLittleEndian.encode() in content[:1024]:
        # a zip bomb: 204 KB can inflate to 200 MB
        raise bad_input(name, "is deflated", "store it without deflating (dcmconv +te)", code="deflated")
    digest = hashlib.sha256(content).hexdigest()
    try:
        with warnings.catch_warnings():
            # pydicom warns of values that are not quite standard; those used here are checked below. It also only warns
            # of a file that ends too early, where the later elements are missing
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="End of file reached")
            dataset = pydicom.dcmread(io.BytesIO(content))
            del content
            dataset.buffer = None  # a second copy of the file; the dataset has its pixels
            syntax = UID(text_of(dataset.file_meta, "TransferSyntaxUID"))
            header = header_of(dataset, digest)
            is_own = expected_id is None or is_same_text(expected_id, header.patient_id)
            is_own = is_own or is_named_by_uid(dataset, Path(path))
            fault = find_fault(dataset, header, syntax, None if is_own else expected_id)
    except (InvalidDicomError, EOFError, UserWarning) as error:
        raise bad_input(name, "is a truncated DICOM", "get the whole file", code="truncated") from error
    except Exception as error:  # pydicom raises exceptions of many kinds for damaged headers
        what = f"its header is damaged ({type(error).__name__}: {error_text(error)})"
        raise bad_input(name, what, "get the file again from where it came from", code="header") from error
    if fault:
        code, what, fix = fault
        raise bad_input(name, what, fix, code=code)
    return dataset, header


def find_fault(
    dataset: pydicom.Dataset, header: Header, syntax: UID, wrong_id: str | None
) -> tuple[str, str, str] | None:
    """Code, what and fix of the first reason not to decode this file; None where there is none.

    Args:
        wrong_id: the id that the file should have and has not; None where it is right.
    """
    rows, columns = header.rows, header.columns
    has_pixel_element = any(tag in dataset for tag in PIXEL_TAGS)
    if not has_pixel_element and (not rows or not columns):
        return "not-image", f"is not an image ({kind_of(dataset)})", "leave it out"
    if not syntax:
        return "transfer-syntax", "has no Transfer Syntax UID", "add it to its file meta (dcmodify, dcmconv)"
    if (not syntax.is_transfer_syntax or syntax.is_private) and str(syntax) not in OTHER_DECODERS:
        return "transfer-syntax", f"has the unknown transfer syntax '{syntax[:64]}'", "convert it to a standard one"
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        return "size", f"claims {rows} rows and {columns} columns", "radiographs have 1 to 8192 of each"
    if not has_pixels(dataset):
        return "no-pixels", "has no pixels", "get the file with its pixels"
    if frames_of(dataset) != 1:
        return "multi-frame", "has several frames", "store each frame in its own file"
    if wrong_id is not None:
        return "id", f"is of '{header.patient_id[:64]}', not of '{wrong_id}'", "name the file after its PatientID"
    return None


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts show the same: macOS splits letters with accents in the names of files."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def is_named_by_uid(dataset: pydicom.Dataset, path: Path) -> bool:
    """Whether a file is named by its SOPInstanceUID, as in RSNA's own release; Kaggle names it by its PatientID."""
    return path.name.removesuffix(".dcm") == text_of(dataset, "SOPInstanceUID") != ""


def kind_of(dataset: pydicom.Dataset) -> str:
    """What a DICOM without an image is: SR, PR, DICOMDIR, ..."""
    kind = UID(text_of(dataset.file_meta, "MediaStorageSOPClassUID") or text_of(dataset, "SOPClassUID"))
    if kind.name == "Media Storage Directory Storage":
        return "DICOMDIR"
    return word_of(dataset, "Modality")[:16] or kind.name[:64] or "no modality"


def header_of(dataset: pydicom.Dataset, digest: str) -> Header:
    sex, view = word_of(dataset, "PatientSex"), word_of(dataset, "ViewPosition")
    return Header(
        patient_id=text_of(dataset, "PatientID"),
        rows=whole_number_of(dataset, "Rows"),
        columns=whole_number_of(dataset, "Columns"),
        sex=sex if sex in ("M", "F") else "",
        age=years_of(text_of(dataset, "PatientAge")),
        view=view if view in ("AP", "PA") else "",
        modality=text_of(dataset, "Modality"),
        spacing=next((value for name in SPACINGS if (value := spacing_of(dataset, name)) > 0), math.nan),
        sha256=digest,
    )


def spacing_of(dataset: pydicom.Dataset, keyword: str) -> float:
    return next(iter(numbers_of(dataset, keyword)), math.nan)


def decode(dataset: pydicom.Dataset, header: Header, name: str, size: int) -> np.ndarray:
    """Decode to (rows, columns) uint8; with `size`, at a reduced size of no less than (size, size) where possible."""
    try:
        if size and not scales_before_display(dataset):
            size = 0
        gray = to_gray(stored_pixels(dataset, header.rows, header.columns, size), dataset)
        if size == 0 and gray.shape != (header.rows, header.columns):
            raise Unreadable(f"its pixels are {gray.shape}, its header says {(header.rows, header.columns)}")
    except Unreadable as error:
        raise bad_input(name, str(error), error.fix, code=error.code) from error
    except MemoryError as error:
        text = f"{name}: there is not enough memory to read {header.rows} x {header.columns} pixels; free some memory"
        raise EnvironmentFailure(text) from error
    except Exception as error:  # decoders raise exceptions of many kinds for damaged pixels
        what = f"its pixels cannot be decoded ({type(error).__name__}: {error_text(error)})"
        raise bad_input(name, what, "get the file again from where it came from", code="pixels") from error
    return gray


def scales_before_display(dataset: pydicom.Dataset) -> bool:
    """Whether gray levels stay as they are or are only inverted, so that the image may be shrunk before that."""
    if word_of(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        return False
    return DISPLAY_TAGS.isdisjoint(dataset.keys()) or display_of(dataset).keeps_8_bits
