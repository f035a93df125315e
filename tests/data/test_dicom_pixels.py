"""What DICOMs really hold, each kind made here: the picture that the standard asks for, to the last bit.

CASES is the table of docs/reading.md too: a test compares the two.
"""

import runpy
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import simplejpeg
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

from pneumonia.data.dicom import read_dicom, read_scaled

ROOT = Path(__file__).parents[2]
BENCHMARK = runpy.run_path(str(ROOT / "benchmarks" / "dicom_fuzz.py"), run_name="dicom_fuzz")
sound_file, file_bytes, ENCODINGS = (BENCHMARK[name] for name in ("sound_file", "file_bytes", "ENCODINGS"))

PICTURE = np.rint(np.add.outer(np.linspace(0, 100, 48), np.linspace(0, 155, 64))).astype(np.uint8)  # 0 to 255, smooth
LOW, STEP = 400, 12  # 12-bit values that are PICTURE where they are stretched
VALUES = (LOW + STEP * PICTURE.astype(np.int32)).astype(np.uint16)  # 400 to 3460
WINDOW = {"WindowCenter": "1930.5", "WindowWidth": "3061"}  # just these
BITS12 = {"BitsStored": 12}
RAW = "explicit little"


def with_marks(values, low=0, high=4095) -> np.ndarray:
    """A dark and a bright pixel, which stretching would take for the range."""
    values = values.copy()
    values[0, 0], values[0, 1] = low, high
    return values


MARKED, MARKED_PICTURE = with_marks(VALUES), with_marks(PICTURE, 0, 255)
STRETCHED = np.rint(MARKED * (255 / 4095)).astype(np.uint8)
FRAMED = PICTURE.copy()
FRAMED[:, :6] = 0  # where padding lies


def padded(values, padding) -> np.ndarray:
    values = values.copy()
    values[:, :6] = padding
    return values


def stretched(values) -> np.ndarray:
    values = values.astype(float)
    return np.rint((values - values.min()) * (255 / (values.max() - values.min()))).astype(np.uint8)


def raw(values, **elements):
    return sound_file(RAW, values, **elements)


def twelve(values, **elements):
    return raw(values, **BITS12 | elements)


def with_element(made, keyword, representation, value):
    with pydicom.config.disable_value_validation():
        made.add_new(pydicom.datadict.tag_for_keyword(keyword), representation, value)
    return made


def table(made, keyword, entries, first=0, bits=16, representation="US", packed=False):
    """A look-up table: `packed`: a byte for each entry."""
    item = Dataset()
    item.add_new(0x00283002, representation, [len(entries) % 65536, first, bits])
    item.add_new(0x00283006, "OW", np.asarray(entries, "u1" if packed else "<u2").tobytes())
    made.add_new(pydicom.datadict.tag_for_keyword(keyword), "SQ", [item])
    return made


RAMP = np.rint(np.clip((np.arange(4096) - LOW) / (STEP * 255), 0, 1) * 65535)  # 12-bit values to PICTURE in 16 bits
ODD_NUMBERS = {"empty": "", "zero": "0", "negative": "-5", "text": "wide", "infinite": "1e999", "underscored": "3_061"}


def palette(bits, representation="OW", order="<", segmented=False):
    """Indices run backwards: taken for gray they would be the negative."""
    indices = 255 - PICTURE
    made = sound_file("explicit big" if order == ">" else RAW, indices, PhotometricInterpretation="PALETTE COLOR")
    entries = np.arange(255, -1, -1) * (257 if bits == 16 else 1)
    data = entries.astype(f"{order}u2" if bits == 16 else "u1").tobytes()
    if segmented:  # a linear run from the first entry to the last
        data = np.array([0, 1, entries[0], 1, 255, entries[-1]], f"{order}u2").tobytes()
    for number in range(3):  # red, green, blue
        made.add_new(0x00281101 + number, "US", [256, 0, bits])
        made.add_new((0x00281221 if segmented else 0x00281201) + number, representation, data)
    return made


def with_noise_above(values):
    """Noise in the four bits above a 12-bit value."""
    rng = np.random.default_rng(0)
    return values | (rng.integers(0, 16, values.shape).astype(np.uint16) << 12)


def overlay(values):
    values = values.copy()
    values[10:20, 10:30] |= 1 << 12
    made = twelve(values)
    made.add_new(0x60000100, "US", 16)
    made.add_new(0x60000102, "US", 12)
    return made


def ybr(kind):
    """PICTURE with colours that are not its lightness."""
    chroma = np.full_like(PICTURE, 100)
    if kind == "YBR_FULL":
        return raw(np.stack([PICTURE, chroma, chroma], axis=-1), PhotometricInterpretation=kind)
    luma = np.rint(16 + PICTURE * (219 / 255)).astype(np.uint8) if "PARTIAL" in kind else PICTURE
    pairs = np.concatenate([luma.reshape(-1, 2), chroma.reshape(-1, 2)], axis=1)
    made = raw(np.stack([PICTURE] * 3, axis=-1), PhotometricInterpretation=kind)
    made.PixelData = pairs.tobytes()
    return made


def planar(pixels):
    made = raw(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)).reshape(pixels.shape))
    made.PlanarConfiguration = 1
    return made


def in_items(values):
    made = twelve(values)
    made.PixelData = encapsulate([values.tobytes()])
    made["PixelData"].is_undefined_length = True
    made["PixelData"].VR = "OB"
    return made


COLOUR = np.stack([PICTURE, PICTURE[::-1], 255 - PICTURE], axis=-1)
LIGHTNESS = cv2.cvtColor(COLOUR, cv2.COLOR_RGB2GRAY)
COLOUR16 = COLOUR.astype(np.uint16) * 257
JPEG = simplejpeg.encode_jpeg(np.ascontiguousarray(PICTURE[..., None]), 98, "GRAY", "GRAY")
DECODED = simplejpeg.decode_jpeg(JPEG, "GRAY")[..., 0]


def jpeg(frame=JPEG, pieces=1, **elements):
    made = sound_file("JPEG Baseline", PICTURE, **elements)
    made.PixelData = encapsulate([frame], fragments_per_frame=pieces)
    return made


def shaded(values, centre, width):
    """The linear window of PS3.3, C.11.2.1.2.1, as its text has it."""
    values = values.astype(float)
    gray = ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255
    gray[values <= centre - 0.5 - (width - 1) / 2] = 0
    gray[values > centre - 0.5 + (width - 1) / 2] = 255
    return np.rint(gray).astype(np.uint8)


SIGNED = VALUES.astype(np.int16) - 2000
SIGMOID = np.rint(255 / (1 + np.exp(-4 * (MARKED - 1930.0) / 3000))).astype(np.uint8)
TOO_LARGE = VALUES * 4  # 14 bits where the header says 12
FLOATS = (PICTURE / 255 * 3).astype(np.float32)

# name: the file, the picture, how it is read
CASES = {
    "window": (twelve(MARKED, **WINDOW), MARKED_PICTURE, "windowed"),
    "window, several": (
        twelve(MARKED, WindowCenter=["1930.5", "10"], WindowWidth=["3061", "20"]), MARKED_PICTURE, "the first"),
    "window, LINEAR_EXACT": (
        twelve(MARKED, WindowCenter="1930", WindowWidth="3060", VOILUTFunction="LINEAR_EXACT"), MARKED_PICTURE,
        "without the half steps of LINEAR"),
    "window, SIGMOID": (
        twelve(MARKED, WindowCenter="1930", WindowWidth="3000", VOILUTFunction="SIGMOID"), SIGMOID, "the curve"),
    "window, empty function": (twelve(MARKED, **WINDOW, VOILUTFunction=""), MARKED_PICTURE, "LINEAR"),
    "window, unknown function": (twelve(MARKED, **WINDOW, VOILUTFunction="CURVE"), MARKED_PICTURE, "LINEAR"),
    "window as binary numbers": (
        with_element(with_element(twelve(MARKED), "WindowCenter", "FD", 1930.5), "WindowWidth", "FD", 3061.0),
        MARKED_PICTURE, "windowed, for any value representation"),
    **{
        f"window, {kind} width": (
            with_element(twelve(MARKED, WindowCenter="1930"), "WindowWidth", "LO", text), STRETCHED,
            "as if there were no window")
        for kind, text in ODD_NUMBERS.items()
    },
    "window of other units": (
        twelve(MARKED, RescaleSlope="0.5", RescaleIntercept="-100", WindowCenter="865.25", WindowWidth="1531"),
        shaded(MARKED * 0.5 - 100, 865.25, 1531), "in the units that slope and intercept give"),
    "VOI LUT": (table(twelve(MARKED), "VOILUTSequence", RAMP), MARKED_PICTURE, "looked up"),
    "VOI LUT beside a window": (
        table(twelve(MARKED, WindowCenter="2048", WindowWidth="4096"), "VOILUTSequence", RAMP), MARKED_PICTURE,
        "the table"),
    "VOI LUT, descending": (
        table(twelve(4095 - MARKED), "VOILUTSequence", RAMP[::-1]), MARKED_PICTURE, "the table inverts it"),
    "VOI LUT, a byte an entry": (
        table(twelve(MARKED), "VOILUTSequence", np.rint(RAMP / 257), bits=8, packed=True), MARKED_PICTURE, "looked up"),
    "VOI LUT, 12 bits": (
        table(twelve(MARKED), "VOILUTSequence", RAMP // 16, bits=12), MARKED_PICTURE, "0 to 4095 is black to white"),
    "VOI LUT from a first value on": (
        table(twelve(MARKED), "VOILUTSequence", RAMP[LOW:], first=LOW), MARKED_PICTURE,
        "lower and higher values take the first and last entry"),
    "VOI LUT of negative values": (
        table(raw(SIGNED), "VOILUTSequence", RAMP[LOW:], first=LOW - 2000, representation="SS"), PICTURE, "looked up"),
    "VOI LUT of negative values, wrapped": (
        table(raw(SIGNED), "VOILUTSequence", RAMP[LOW:], first=65536 + LOW - 2000), PICTURE,
        "the unsigned first value stands for a negative one"),
    "VOI LUT after an intercept": (
        table(twelve(VALUES, RescaleIntercept="-1000", RescaleSlope="1"), "VOILUTSequence", RAMP[LOW:],
              first=65536 + LOW - 1000), PICTURE, "in the modality's units"),
    "VOI LUT of 65,536 entries": (
        table(raw(VALUES * 16), "VOILUTSequence", np.repeat(RAMP, 16)), PICTURE,
        "looked up; their number is written as 0"),
    "VOI LUT without items": (
        with_element(twelve(MARKED, **WINDOW), "VOILUTSequence", "SQ", []), MARKED_PICTURE, "the window"),
    "modality LUT with a window": (
        table(twelve(VALUES, WindowCenter="24160", WindowWidth="16336"), "ModalityLUTSequence", np.arange(4096) * 16),
        shaded(VALUES.astype(int) * 16, 24160, 16336), "windowed in the table's units"),
    "modality LUT alone": (
        table(twelve(4095 - VALUES), "ModalityLUTSequence", np.arange(4095, -1, -1)), PICTURE, "stretched"),
    "modality LUT to 8 bits": (
        table(twelve(VALUES), "ModalityLUTSequence", np.arange(4096) >> 4, bits=8), stretched(VALUES >> 4),
        "stretched"),
    "negative slope": (twelve(4095 - VALUES, RescaleSlope="-1", RescaleIntercept="4095"), PICTURE, "inverted"),
    "negative slope, window": (
        twelve(4095 - MARKED, RescaleSlope="-1", RescaleIntercept="4095", **WINDOW), MARKED_PICTURE, "inverted"),
    "negative slope, 8 bits": (
        raw(255 - PICTURE, RescaleSlope="-1", RescaleIntercept="255"), PICTURE, "inverted, not stretched"),
    "negative slope, MONOCHROME1, window": (
        twelve(4095 - MARKED, RescaleSlope="-1", RescaleIntercept="4095", PhotometricInterpretation="MONOCHROME1",
               **WINDOW), 255 - MARKED_PICTURE, "inverted twice"),
    **{
        f"slope, {kind}": (
            with_element(twelve(MARKED, RescaleIntercept="0", **WINDOW), "RescaleSlope", "LO", text), MARKED_PICTURE,
            "as 1")
        for kind, text in ODD_NUMBERS.items() if kind != "negative"
    },
    "8 bits": (raw(PICTURE // 2 + 20), PICTURE // 2 + 20, "as they are"),
    "MONOCHROME1": (
        twelve(MARKED, PhotometricInterpretation="MONOCHROME1", **WINDOW), 255 - MARKED_PICTURE, "inverted"),
    "INVERSE": (twelve(MARKED, PresentationLUTShape="INVERSE", **WINDOW), 255 - MARKED_PICTURE, "inverted"),
    "MONOCHROME1 and INVERSE": (
        raw(PICTURE, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"), 255 - PICTURE,
        "inverted once: the standard asks for both together"),
    "padding": (with_element(raw(padded(VALUES, 65535)), "PixelPaddingValue", "US", 65535), None,
        "black, left out of the range"),
    "padding above BitsStored": (
        with_element(twelve(padded(VALUES, 65535)), "PixelPaddingValue", "US", 65535), None,
        "black, left out of the range"),
    "padding, signed": (
        with_element(raw(padded(SIGNED, -2000)), "PixelPaddingValue", "SS", -2000), None,
        "black, left out of the range"),
    "padding, signed, wrapped": (
        with_element(raw(padded(SIGNED, -2000)), "PixelPaddingValue", "US", 63536), None,
        "an unsigned value stands for a negative one"),
    "padding from one value to another": (
        with_element(with_element(raw(padded(SIGNED, np.arange(-2100, -2094))), "PixelPaddingValue", "SS", -2100),
                     "PixelPaddingRangeLimit", "SS", -2000), None, "black, left out of the range"),
    "padding, limit below it": (
        with_element(with_element(raw(padded(SIGNED, -2050)), "PixelPaddingValue", "SS", -2000),
                     "PixelPaddingRangeLimit", "SS", -2100), None, "black, left out of the range"),
    "padding, MONOCHROME1": (
        with_element(raw(padded(VALUES[::-1, ::-1], 0), PhotometricInterpretation="MONOCHROME1"), "PixelPaddingValue",
                     "US", 0), None, "black, not white"),
    "padding, window": (
        with_element(twelve(padded(VALUES, 4095), **WINDOW), "PixelPaddingValue", "US", 4095), FRAMED, "black"),
    "padding everywhere": (
        with_element(raw(np.full_like(VALUES, 9)), "PixelPaddingValue", "US", 9), np.zeros_like(PICTURE), "black"),
    "padding, 8 bits": (
        with_element(raw(padded(PICTURE // 2, 255)), "PixelPaddingValue", "US", 255), padded(PICTURE // 2, 0),
        "black; the others as they are"),
    "signed": (raw(SIGNED), PICTURE, "stretched"),
    "signed, window": (raw(SIGNED, WindowCenter="-69.5", WindowWidth="3061"), PICTURE, "windowed"),
    "signed, 12 bits without their sign above": (
        with_element(twelve(SIGNED.view(np.uint16) & 4095), "PixelRepresentation", "US", 1), PICTURE,
        "the twelfth bit is the sign"),
    "signed bytes": (
        with_element(raw((PICTURE.astype(np.int16) - 128).astype(np.int8).view(np.uint8)), "PixelRepresentation", "US",
                     1), PICTURE, "stretched"),
    "BitsStored too small": (twelve(TOO_LARGE), PICTURE, "with all bits: neighbours are nearer with them"),
    **{
        f"BitsStored too small, {encoding}": (sound_file(encoding, TOO_LARGE, **BITS12), PICTURE, "with all bits")
        for encoding in ("RLE", "JPEG lossless SV1", "JPEG-LS", "JPEG 2000", "HTJ2K", "explicit big")
    },
    "BitsStored too small, signed": (twelve(SIGNED * 4), PICTURE, "with all bits"),
    "BitsStored too small, the largest value given": (
        with_element(twelve(TOO_LARGE), "LargestImagePixelValue", "US", int(TOO_LARGE.max())), PICTURE,
        "with all bits"),
    "overlay in the upper bits": (overlay(VALUES), PICTURE, "masked"),
    "noise in the upper bits": (twelve(with_noise_above(VALUES)), PICTURE,
        "masked: neighbours are nearer without them"),
    "values in the upper bits": (
        with_element(twelve(VALUES << 4), "HighBit", "US", 15), PICTURE, "shifted down, as HighBit says"),
    "HighBit wrong": (with_element(twelve(MARKED, **WINDOW), "HighBit", "US", 15), MARKED_PICTURE, "not shifted"),
    "BitsStored zero": (with_element(twelve(VALUES), "BitsStored", "US", 0), PICTURE, "as BitsAllocated"),
    "PALETTE COLOR, 16 bits": (palette(16), PICTURE, "its lightness"),
    "PALETTE COLOR, 8 bits": (palette(8), PICTURE, "its lightness"),
    "PALETTE COLOR, segmented": (palette(16, segmented=True), PICTURE, "its lightness"),
    "PALETTE COLOR, big endian": (palette(16, order=">"), PICTURE, "its lightness"),
    "RGB": (raw(COLOUR), LIGHTNESS, "its lightness"),
    "RGB, a plane a colour": (planar(COLOUR), LIGHTNESS, "its lightness"),
    "RGB, 16 bits": (raw(COLOUR16), cv2.cvtColor(COLOUR16, cv2.COLOR_RGB2GRAY) >> 8, "the upper 8 bits"),
    "RGB, 12 bits": (raw(COLOUR16 >> 4, **BITS12), cv2.cvtColor(COLOUR16 >> 4, cv2.COLOR_RGB2GRAY) >> 4,
                     "the upper 8 bits"),
    **{
        f"RGB, {encoding}": (sound_file(encoding, COLOUR), LIGHTNESS, "its lightness")
        for encoding in ("RLE", "JPEG lossless SV1", "JPEG-LS", "JPEG 2000", "explicit big")
    },
    "YBR_FULL": (ybr("YBR_FULL"), PICTURE, "its lightness"),
    "YBR_FULL_422": (ybr("YBR_FULL_422"), PICTURE, "its lightness, at two bytes a pixel"),
    "YBR_PARTIAL_422": (ybr("YBR_PARTIAL_422"), None, "its lightness, 16 black and 235 white"),
    **{
        f"frames: {text or 'empty'}": (with_element(twelve(VALUES), "NumberOfFrames", "LO", text), PICTURE,
        "read as one frame")
        for text in ("0", "", "-1", "x", "1")
    },
    "uncompressed, in items": (in_items(VALUES), PICTURE, "taken out of the item"),
    "Rows and Columns as texts": (
        with_element(with_element(twelve(VALUES), "Rows", "IS", "48"), "Columns", "DS", "64.0"), PICTURE, "read"),
    "32 bits": (with_element(raw(VALUES.astype(np.uint32)), "BitsStored", "US", 32), PICTURE, "stretched"),
    "floats": (raw(FLOATS), PICTURE, "stretched"),
    "floats, some no number": (raw(padded(FLOATS, np.nan)), None, "NaN is black, left out of the range"),
    "JPEG": (jpeg(), DECODED, "as libjpeg-turbo gives it"),
    "JPEG, window": (jpeg(WindowCenter="127", WindowWidth="100"), shaded(DECODED, 127, 100),
        "as the same pixels uncompressed"),
    "JPEG, negative slope": (jpeg(RescaleSlope="-1", RescaleIntercept="255"), 255 - DECODED, "inverted"),
    "JPEG, VOI LUT": (
        table(jpeg(), "VOILUTSequence", np.arange(255, -1, -1), bits=8), 255 - DECODED, "looked up"),
    "JPEG, INVERSE": (jpeg(PresentationLUTShape="INVERSE"), 255 - DECODED, "inverted"),
    "JPEG, padding": (
        with_element(jpeg(), "PixelPaddingValue", "US", 0), np.where(DECODED == 0, 0, DECODED), "black"),
    "JPEG, zeros after its end": (jpeg(JPEG + b"\0" * 64), DECODED, "ignored"),
    "JPEG, other bytes after its end": (jpeg(JPEG + b"\xff" * 7 + b" end"), DECODED, "ignored"),
    "JPEG in pieces": (jpeg(pieces=3), DECODED, "joined"),
    "a frame of a JPEG of another kind": (
        with_element(sound_file("JPEG lossless", PICTURE), "Manufacturer", "LO", "x"), PICTURE,
        "decoded by its first bytes"),
}  # fmt: skip


def written(folder, made) -> Path:
    path = folder / "a.dcm"
    path.write_bytes(file_bytes(made))
    return path


@pytest.mark.parametrize("name", CASES)
def test_case(tmp_path, name):
    made, expected, _ = CASES[name]
    gray, header = read_dicom(written(tmp_path, made))
    assert gray.dtype == np.uint8 and gray.shape == (header.rows, header.columns)
    if expected is None and name.startswith(("padding", "floats")):
        inner = PICTURE[:, 6:].astype(float)
        inner = np.rint((inner - inner.min()) * (255 / (inner.max() - inner.min())))
        assert (gray[:, :6] == 0).all()
        assert np.abs(gray[:, 6:] - inner).max() <= 1  # the range is that of the rest, which starts higher
    elif expected is None:
        assert np.abs(gray.astype(int) - PICTURE).max() <= 1
    else:
        np.testing.assert_array_equal(gray, expected)


@pytest.mark.parametrize("name", ["window", "negative slope", "JPEG, window", "PALETTE COLOR, 16 bits", "padding"])
def test_scaled_is_full_and_area_resize(tmp_path, name):
    path = written(tmp_path, CASES[name][0])
    full, _ = read_dicom(path)
    np.testing.assert_array_equal(read_scaled(path, 24)[0], cv2.resize(full, (24, 24), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(("encoding", "kind"), [(name, kind) for name, parts in ENCODINGS.items() for kind in parts[1]])
def test_every_encoding_of_the_same_pixels_gives_the_same_picture(tmp_path, encoding, kind):
    """Lossless ones bit for bit, under a window; lossy ones nearly."""
    pixels = BENCHMARK["pixels_of"](kind, np.random.default_rng(3))
    bits = BITS12 if kind == "gray12" else {}
    window = {"WindowCenter": f"{pixels.mean():.1f}", "WindowWidth": "300"} if "gray" in kind else {}
    gray, _ = read_dicom(written(tmp_path, sound_file(encoding, pixels, **bits, **window)))
    plain, _ = read_dicom(written(tmp_path, raw(pixels, **bits, **window)))
    if encoding in ("JPEG Baseline", "JPEG 12 bits", "JPEG-LS near", "JPEG 2000 lossy", "HTJ2K lossy"):
        assert np.abs(gray.astype(float) - plain).mean() < 12
    else:
        np.testing.assert_array_equal(gray, plain)


def test_a_compressed_file_made_by_pydicom(tmp_path):
    made = twelve(VALUES)
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.compress("1.2.840.10008.1.2.5")
    np.testing.assert_array_equal(read_dicom(written(tmp_path, made))[0], PICTURE)
