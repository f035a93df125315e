"""pydicom's own test files, as its package ships them: read as pydicom's functions give, or one line.

`pytest -s tests/data/test_pydicom_files.py` prints the table.
"""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from pneumonia.data.dicom import read_dicom
from pneumonia.system.errors import BadInput

ROOT = Path(pydicom.data.__file__).parent
NO_DICOM = {".py", ".pyc", ".json", ".txt", ".md", ".dump", ".icc"}
FILES = sorted(path for path in ROOT.rglob("*") if path.is_file() and path.suffix.lower() not in NO_DICOM)
# pydicom needs plugins for some of these: another file of the same picture, and gray levels of difference
SAME_AS = {
    "MR_small_jpeg_ls_lossless.dcm": ("MR_small.dcm", 0),
    "MR_small_RLE.dcm": ("MR_small.dcm", 0),
    "MR_small_jp2klossless.dcm": ("MR_small.dcm", 0),
    "MR_small_bigendian.dcm": ("MR_small.dcm", 0),
    "SC_rgb_jpeg_gdcm.dcm": ("SC_rgb_rle.dcm", 0),
    "SC_rgb_jls_lossy_line.dcm": ("SC_rgb_rle.dcm", 6),
    "SC_rgb_jls_lossy_sample.dcm": ("SC_rgb_rle.dcm", 6),
    "JPGExtended.dcm": ("JPEG-lossy.dcm", 0),
}
# Of YCbCr the Y is the lightness; pydicom goes by way of red, green and blue, which are cut off at 0 and 255.
LIGHTNESS_CUT_OFF = 9  # gray levels
UNREADABLE = {  # and pydicom does not read them either, but for frames, deflating and files without a preamble
    "MR_truncated.dcm": "bytes of pixels instead of",
    "JPEG2000-embedded-sequence-delimiter.dcm": "its JPEG 2000 is",
    "badVR.dcm": "bytes of pixels instead of",  # 15 frames, which its header calls '1A'
    "image_dfl.dcm": "is deflated",
    "meta_missing_tsyntax.dcm": "has no Transfer Syntax UID",
    "nested_priv_SQ.dcm": "claims 0 rows",
}


def as_pydicom(path: Path) -> np.ndarray | None:
    """0 to 255 as pydicom's functions have it; None where pydicom does not read the file."""
    dataset = pydicom.dcmread(path)
    try:
        values = dataset.pixel_array
    except Exception:  # of many kinds
        return None
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    if values.ndim == 3:
        values = values.astype(float) / 256 ** (values.dtype.itemsize - 1)
        return values @ [0.299, 0.587, 0.114]
    gray = apply_voi_lut(apply_modality_lut(values, dataset), dataset).astype(float)
    low, high = gray.min(), gray.max()
    if "WindowWidth" in dataset:  # pydicom spreads a window over all that the stored bits can be
        bits, slope = dataset.BitsStored, float(dataset.get("RescaleSlope", 1))
        ends = np.array([0, 2**bits - 1]) - (2 ** (bits - 1) if dataset.PixelRepresentation else 0)
        low, high = ends * slope + float(dataset.get("RescaleIntercept", 0))
    gray = (gray - low) * (255 / (high - low)) if high > low else np.zeros(gray.shape)
    return 255 - gray if dataset.PhotometricInterpretation == "MONOCHROME1" else gray


@pytest.fixture(scope="module")
def table():
    lines = []
    yield lines
    print(f"\n{'file':42s} {'read':10s} result")
    print("\n".join(sorted(lines)))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path, table):
    name = path.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            gray, header = read_dicom(path)
        except BadInput as error:
            (fault,) = error.faults
            assert "\n" not in str(fault) and fault.what and fault.fix and "download" not in str(fault)
            table.append(f"{name:42s} {'no':10s} {fault.what}")
            general = (
                "is not a DICOM file",
                "without its preamble",
                "is not an image",
                "has no pixels",
                "several frames",
            )
            assert UNREADABLE.get(name, "") in fault.what
            assert name in UNREADABLE or any(each in fault.what for each in general)
            return
        assert gray.shape == (header.rows, header.columns)
        expected = as_pydicom(path)
    if name in SAME_AS:
        other, most = SAME_AS[name]
        difference = np.abs(gray.astype(float) - read_dicom(path.with_name(other))[0]).max()
        table.append(f"{name:42s} {'yes':10s} at most {difference:.1f} from {other}")
        assert difference <= most
    elif expected is None:
        table.append(f"{name:42s} {'yes':10s} pydicom needs a plugin")
    else:
        difference = np.abs(gray - expected.clip(0, 255)).max()
        table.append(f"{name:42s} {'yes':10s} at most {difference:.1f} from pydicom's")
        photometric = pydicom.dcmread(path, stop_before_pixels=True).PhotometricInterpretation
        assert difference <= (LIGHTNESS_CUT_OFF if photometric.startswith("YBR_FULL") else 1.5)
