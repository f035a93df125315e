"""One DICOM file, to gray 0..255 and the header fields that the study needs; or one clear fault.

The competition's files hold one JPEG Baseline frame: its bytes go straight to libjpeg-turbo, which may decode at half
or a quarter of the size where that is still large enough (on real radiographs at 512 px the mean difference from full
decoding and area resize was 0.14 gray levels, at most 0.16 in any image). Everything else goes through pydicom.

Nothing is decoded before its header has been believed: sizes are bounded, deflated files are refused.
"""

import hashlib
import io
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
import simplejpeg
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from pneumonia.system.errors import BadInput, bad_input

LARGEST_SIDE = 8192  # pixels; the largest detectors have about 4,300
LARGEST_FILE = 256 * 2**20  # bytes; an uncompressed 16-bit image of LARGEST_SIDE is half of it
READERS = {  # transfer syntaxes that need a package which the lock does not have: what would read them
    "1.2.840.10008.1.2.4.57": "pylibjpeg with pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg with pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.201": "pylibjpeg with pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg with pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg with pylibjpeg-openjpeg",
}


@dataclass(frozen=True)
class Header:
    """rows, columns: pixels. sex: M, F or "". age: years as the file says, NaN where it says nothing. view: AP, PA or
    "". spacing: mm between pixel centres, NaN where unknown. sha256: of the whole file."""

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
    """A file at its full size.

    Args:
        expected_id: the PatientID that the file must have; None for any.

    Returns:
        (rows, columns) uint8 gray, white is dense; and the header.

    Raises:
        BadInput: anything that keeps the file from being read, one fault that says what.
    """
    dataset, header = read_header(path, expected_id)
    return decoded(dataset, header, str(path), 0), header


def read_scaled(path: str | Path, size: int, expected_id: str | None = None) -> tuple[np.ndarray, Header]:
    """A file as a (size, size) uint8 square, by area where it shrinks; the factors are size / columns and size / rows.

    Raises:
        BadInput: as `read_dicom`.
    """
    dataset, header = read_header(path, expected_id)
    gray = decoded(dataset, header, str(path), size)
    if gray.shape == (size, size):
        return gray, header
    way = cv2.INTER_AREA if size <= min(gray.shape) else cv2.INTER_LINEAR
    return cv2.resize(gray, (size, size), interpolation=way), header


def content_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise bad_input(path, "is larger than 256 MiB", "no radiograph is", code="too-large")
        return path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise bad_input(path, what, "check the file and its permissions", code="unreadable") from error


def read_header(path: str | Path, expected_id: str | None = None) -> tuple[pydicom.Dataset, Header]:
    """The dataset, nothing decoded yet, and its header, believed. Raises BadInput."""
    content, name = content_of(Path(path)), str(path)
    if content[128:132] != b"DICM":
        raise bad_input(name, "is no DICOM file", "download it again", code="not-dicom")
    if DeflatedExplicitVRLittleEndian.encode() in content[:1024]:
        # inflating is what a bomb waits for: 204 KB can become 200 MB
        raise bad_input(name, "is deflated", "store it without deflating (dcmconv +te)", code="deflated")
    try:
        with warnings.catch_warnings():
            # of values that are not quite standard: those we use are checked below; but a file that ends too early only
            # draws a warning too, and the elements after that point are missing
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="End of file reached")
            dataset = pydicom.dcmread(io.BytesIO(content))
            syntax = UID(dataset.file_meta.TransferSyntaxUID)
            header = header_of(dataset, content)
            has_pixels = bool(dataset.get("PixelData"))
    except (InvalidDicomError, EOFError, UserWarning) as error:
        raise bad_input(name, "is a truncated DICOM", "download it again", code="truncated") from error
    except Exception as error:  # pydicom meets a damaged header with whatever its parser stumbles over
        what = f"its header is damaged ({type(error).__name__})"
        raise bad_input(name, what, "download it again", code="header") from error
    faults = {
        "size": not (0 < header.rows <= LARGEST_SIDE and 0 < header.columns <= LARGEST_SIDE),
        "no-pixels": not has_pixels,
        "transfer-syntax": not syntax.is_transfer_syntax or syntax.is_private,
        "multi-frame": text_of(dataset, "NumberOfFrames") not in ("", "1"),
        "id": expected_id is not None and header.patient_id != expected_id,
    }
    wrong = next((code for code, found in faults.items() if found), None)
    if wrong:
        what, fix = {
            "size": (f"claims {header.rows} rows and {header.columns} columns", "radiographs have 1 to 8192 of each"),
            "no-pixels": ("has no pixels", "download it again"),
            "transfer-syntax": (
                f"has the unknown transfer syntax '{str(syntax)[:64]}'",
                "convert it to a standard one",
            ),
            "multi-frame": ("has several frames", "give each frame a file of its own"),
            "id": (f"is of '{header.patient_id[:64]}', not of '{expected_id}'", "name the file after its PatientID"),
        }[wrong]
        raise bad_input(name, what, fix, code=wrong)
    return dataset, header


def header_of(dataset: pydicom.Dataset, content: bytes) -> Header:
    age = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", text_of(dataset, "PatientAge"))
    per_year = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}
    sex, view = text_of(dataset, "PatientSex"), text_of(dataset, "ViewPosition")
    spacing = text_of(dataset, "PixelSpacing") or text_of(dataset, "ImagerPixelSpacing")
    return Header(
        patient_id=text_of(dataset, "PatientID"),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        sex=sex if sex in ("M", "F") else "",
        age=float(age[1]) / per_year[age[2]] if age else math.nan,
        view=view if view in ("AP", "PA") else "",
        modality=text_of(dataset, "Modality"),
        spacing=float(spacing.split("\\")[0]) if spacing else math.nan,
        sha256=hashlib.sha256(content).hexdigest(),
    )


TAGS = {
    name: tag_for_keyword(name)
    for name in (
        "PatientAge", "PatientSex", "ViewPosition", "PixelSpacing", "ImagerPixelSpacing", "PatientID", "Modality",
        "NumberOfFrames", "PhotometricInterpretation",
    )
}  # fmt: skip


def text_of(dataset: pydicom.Dataset, name: str) -> str:
    """An element's text as it stands in the file. pydicom's typed values take longer, and warn of the competition's
    ages, which are `45` where the standard wants `045Y`."""
    element = dataset.get_item(TAGS[name])
    value = element.value if element is not None else None
    if value is None:
        return ""
    if isinstance(value, pydicom.multival.MultiValue):
        return "\\".join(str(each) for each in value)
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip("\0 ")


def decoded(dataset: pydicom.Dataset, header: Header, name: str, size: int) -> np.ndarray:
    """(rows, columns) uint8; not smaller than (size, size), but for size 0 and images that are smaller themselves."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        samples, bits = int(dataset.get("SamplesPerPixel", 1)), int(dataset.get("BitsAllocated", 8))
        if syntax == JPEGBaseline8Bit:
            gray = decoded_jpeg(get_frame(dataset.PixelData, 0, number_of_frames=1), header, name, size)
        else:
            expected = header.rows * header.columns * samples * bits // 8
            if not syntax.is_compressed and len(dataset.PixelData) < expected:
                what = f"has {len(dataset.PixelData)} bytes of pixels where {expected} belong"
                raise bad_input(name, what, "download it again", code="truncated")
            gray = decoded_by_pydicom(dataset, samples)
    except BadInput:
        raise
    except Exception as error:  # decoders meet damaged pixels with whatever they stumble over
        if not readable(syntax):
            reader = READERS.get(str(syntax), "no package we know")
            fix = f"install {reader}, or convert the file"
            raise bad_input(name, f"is compressed as {syntax.name}", fix, code="compression") from error
        what = (
            f"its pixels cannot be decoded ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__})"
        )
        raise bad_input(name, what, "download it again", code="pixels") from error
    if gray.shape[0] * header.columns != gray.shape[1] * header.rows and size == 0:
        raise bad_input(name, "its pixels have another size than its header says", "download it again", code="pixels")
    return 255 - gray if text_of(dataset, "PhotometricInterpretation") == "MONOCHROME1" else gray


def readable(syntax: UID) -> bool:
    """Whether some installed decoder of pydicom takes this transfer syntax."""
    if not syntax.is_compressed:
        return True
    try:
        return pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def decoded_jpeg(frame: bytes, header: Header, name: str, size: int) -> np.ndarray:
    """A JPEG frame to gray; colour becomes luma. Its own size must be the header's: checked before it is decoded."""
    end = frame.rstrip(b"\0")[-2:]
    if end != b"\xff\xd9":
        raise bad_input(name, "its pixels are truncated (the JPEG has no end)", "download it again", code="truncated")
    rows, columns, *_ = simplejpeg.decode_jpeg_header(frame)
    if (rows, columns) != (header.rows, header.columns):
        what = f"its JPEG is {rows} x {columns}, its header says {header.rows} x {header.columns}"
        raise bad_input(name, what, "download it again", code="pixels")
    # libjpeg-turbo's own scaling is as good as area averaging by factors of two; else leave averaging something to do
    exact = rows == columns and size and rows % size == 0 and rows // size in (2, 4, 8)
    least = size if exact else size * 3 // 2
    return simplejpeg.decode_jpeg(frame, "GRAY", min_height=least, min_width=least, min_factor=1)[..., 0]


def decoded_by_pydicom(dataset: pydicom.Dataset, samples: int) -> np.ndarray:
    """Any other encoding: the modality's own units, windowed as the header says, else over the full range found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = dataset.pixel_array
        if samples >= 3:
            return cv2.cvtColor(np.ascontiguousarray(values[..., :3]).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        plain = int(dataset.get("BitsStored", 8)) == 8 and values.dtype == np.uint8
        if plain and "WindowCenter" not in dataset:
            return values
        values = np.asarray(apply_modality_lut(values, dataset), dtype=np.float64)
        if "WindowCenter" in dataset and "WindowWidth" in dataset:
            values = np.asarray(apply_windowing(values, dataset), dtype=np.float64)
            low, high = windowed_range(dataset, values)
        else:
            low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def windowed_range(dataset: pydicom.Dataset, values: np.ndarray) -> tuple[float, float]:
    """The output range that pydicom's windowing maps to: that of the stored bits, in the modality's units."""
    bits = int(dataset.BitsStored)
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)
    ends = low * slope + intercept, high * slope + intercept
    return min(ends), max(ends)
