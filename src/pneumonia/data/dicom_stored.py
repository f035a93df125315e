"""From the pixel data of a DICOM file, compressed or not, to its stored values."""

from typing import NamedTuple

import numpy as np
import simplejpeg
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from pneumonia.data.dicom_codecs import (
    Unreadable,
    decode_jpeg,
    decode_rle,
    only_frame,
    read_frame_header,
    refuse_syntax,
)
from pneumonia.data.dicom_elements import bytes_of, is_little_endian, tag_of, texts_of, whole_number_of, word_of

FLOAT_PIXELS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
PIXELS = ("PixelData", *FLOAT_PIXELS)
HALF_CHROMA = ("YBR_FULL_422", "YBR_PARTIAL_422")  # two pixels share a pair of colour differences
ITEM = b"\xfe\xff\x00\xe0"  # the tag that starts an item, as compressed frames have them
UNCOMPRESSED_IN_ITEMS = "1.2.840.10008.1.2.1.98"  # a transfer syntax
MAX_PAIRS = 1_000_000  # pairs of neighbours that are compared to find the bits of a value


class Stored(NamedTuple):
    """The stored values of one image.

    codes: (rows, columns) or (rows, columns, 3), unsigned as in the file, or floats. bits: how many bits of a code are
    its value. is_signed: negative values are in two's complement. is_luma: the file holds colour, and these codes are
    its lightness. is_8_bit: the values span 0 to 255 and are not stretched.
    """

    codes: np.ndarray
    bits: int
    is_signed: bool
    is_luma: bool = False
    is_8_bit: bool = False


def stored_pixels(dataset: Dataset, rows: int, columns: int, size: int = 0) -> Stored:
    """Read the values of the only frame.

    Args:
        size: 8-bit JPEG may be decoded smaller, but to no less than this many pixels; 0: full size.

    Raises:
        Unreadable: the values cannot be decoded, or differ from what the header says.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    refuse_syntax(syntax)
    photometric = word_of(dataset, "PhotometricInterpretation")
    samples = whole_number_of(dataset, "SamplesPerPixel")
    if samples < 1:
        samples = 3 if photometric.startswith(("RGB", "YBR")) else 1
    if samples not in (1, 3):
        raise Unreadable(f"has {samples} samples a pixel", "store it in gray or in red, green and blue")
    is_signed = whole_number_of(dataset, "PixelRepresentation") == 1
    is_luma = samples == 3 and photometric.startswith("YBR") and photometric not in ("YBR_RCT", "YBR_ICT")
    if not syntax.is_compressed or syntax == UNCOMPRESSED_IN_ITEMS:
        codes = read_uncompressed(dataset, rows, columns, samples, photometric)
    elif syntax == RLELossless:
        width = allocated_bits(dataset, 0, rows * columns * samples)
        if width % 8:
            raise Unreadable(f"has {width} bits a value, which RLE cannot store")
        codes = decode_rle(only_frame(bytes_of(dataset, "PixelData")), rows, columns, samples, width // 8)
    else:
        frame = only_frame(bytes_of(dataset, "PixelData"))
        header = read_frame_header(frame, photometric)
        if (header.rows, header.columns) != (rows, columns):
            what = f"its {header.kind} is {header.rows} x {header.columns}, its header says {rows} x {columns}"
            raise Unreadable(what)
        if header.samples not in (1, 3):
            raise Unreadable(f"its {header.kind} has {header.samples} components instead of 1 or 3")
        if header.is_gray_ready:  # libjpeg-turbo skips the colour; this JPEG process has no negative values
            return Stored(decode_gray(frame, rows, columns, size), 8, False, header.samples == 3, True)
        codes = decode_jpeg(frame, header)
        is_luma = is_luma and codes.ndim == 3
        bits = bits_stored(dataset, header.bits)
        return Stored(codes[..., 0] if is_luma else codes, bits, is_signed, is_luma, is_8_bit=header.bits == bits == 8)
    if is_luma:
        codes = codes[..., 0] if codes.ndim == 3 else codes
        if photometric == "YBR_PARTIAL_422":
            codes = np.clip((codes.astype(np.float32) - 16) * (255 / 219), 0, 255).round().astype(np.uint8)
    bits = bits_stored(dataset, 8 * codes.itemsize)
    return Stored(codes, bits, is_signed, is_luma, is_8_bit=codes.dtype == np.uint8 and bits == 8 and not is_signed)


def decode_gray(frame: bytes, rows: int, columns: int, size: int) -> np.ndarray:
    """Decode a JPEG to (rows, columns) uint8, or to a half or a quarter of that where `size` allows it."""
    # by factors of two libjpeg-turbo's scaling is as good as area averaging; otherwise leave a rest to average
    exact = rows == columns and size and rows % size == 0 and rows // size in (2, 4, 8)
    least = size if exact else size * 3 // 2
    try:
        return simplejpeg.decode_jpeg(frame, "GRAY", min_height=least, min_width=least, min_factor=1)[..., 0]
    except ValueError as error:
        raise Unreadable(f"its JPEG cannot be decoded ({error})") from error


def bits_stored(dataset: Dataset, most: int) -> int:
    """BitsStored of the header; `most` where it is missing or not from 1 to `most`."""
    bits = whole_number_of(dataset, "BitsStored")
    return bits if 0 < bits < most else most


def allocated_bits(dataset: Dataset, length: int, values: int) -> int:
    """Bits that a value takes in the file; where the header does not say, they follow from its `length` in bytes."""
    allocated = whole_number_of(dataset, "BitsAllocated")
    if allocated <= 0:
        allocated = 16 if (length >= 2 * values if length else whole_number_of(dataset, "BitsStored") > 8) else 8
    if allocated not in (1, 8, 16, 32, 64):
        raise Unreadable(f"has {allocated} bits allocated", "store it with 8 or 16 bits allocated")
    return allocated


# ------------------------------------------------------------------ uncompressed


def read_uncompressed(dataset: Dataset, rows: int, columns: int, samples: int, photometric: str) -> np.ndarray:
    """Read (rows, columns) or (rows, columns, 3) as stored; (rows, columns) of lightness where pixels share colours."""
    keyword = next(name for name in PIXELS if bytes_of(dataset, name))
    data, element = bytes_of(dataset, keyword), dataset.get_item(tag_of(keyword))
    order = "<" if is_little_endian(element, dataset) else ">"
    values = rows * columns * samples
    if keyword in FLOAT_PIXELS:
        width, kind = 8 * int(FLOAT_PIXELS[keyword][1]), FLOAT_PIXELS[keyword]
    else:
        width = allocated_bits(dataset, len(data), values)
        kind = f"u{max(1, width // 8)}"
    halved = photometric in HALF_CHROMA and samples == 3 and width == 8 and len(data) < values
    if photometric.endswith("_420") and len(data) < values:
        raise Unreadable(f"is uncompressed {photometric}", "store it as YBR_FULL or RGB")
    expected = rows * columns * 2 if halved else -(-values * width // 8)
    if data[:4] == ITEM and len(data) > expected:
        data = only_frame(data)
    if len(data) < expected:
        what = f"has {len(data)} bytes of pixels instead of {expected}"
        raise Unreadable(what, "get the whole file", "truncated")
    if len(data) - expected > max(1, expected - 1):
        what = f"has {len(data)} bytes of pixels instead of {expected}"
        raise Unreadable(what, "check its rows, columns, frames and bits allocated")
    if width == 8 and order == ">" and element.VR == "OW" and len(data) % 2 == 0:
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()  # bytes stored as words
    if halved:
        if rows * columns % 2:
            raise Unreadable(f"is {photometric} with an odd number of pixels", "store it as YBR_FULL or RGB")
        return np.frombuffer(data, np.uint8, expected).reshape(-1, 4)[:, :2].reshape(rows, columns)
    if width == 1:
        packed = np.frombuffer(data, np.uint8, expected)
        codes = np.unpackbits(packed, count=values, bitorder="little")
    else:
        codes = np.frombuffer(data, f"{order}{kind}", values)
    if order == ">":
        codes = codes.astype(kind)
    if samples == 1:
        return codes.reshape(rows, columns)
    if whole_number_of(dataset, "PlanarConfiguration") == 1:
        return np.moveaxis(codes.reshape(samples, rows, columns), 0, -1)
    return codes.reshape(rows, columns, samples)


# ------------------------------------------------------------------ bits


def values_of(codes: np.ndarray, bits: int, shift: int, is_signed: bool) -> np.ndarray:
    """Whole numbers that `bits` bits of unsigned codes stand for, from bit `shift` on."""
    values = (codes.astype(np.int64) >> shift) & ((1 << bits) - 1)
    return np.where(values >> (bits - 1), values - (1 << bits), values) if is_signed else values


def find_value_bits(stored: Stored, present: np.ndarray, dataset: Dataset, is_absolute: bool) -> tuple[int, int]:
    """How many bits of a code are its value, and the first of them.

    Bits above BitsStored are an overlay or left over, and must be masked; or BitsStored is wrong and they belong to the
    values. A radiograph is smooth: of pixels whose upper bits differ from their neighbour's, most must be nearer to it
    in the reading that is taken.

    Args:
        present: codes that occur in the image, without padding.
        is_absolute: a window or a table refers to the values themselves, so that an offset matters.

    Raises:
        Unreadable: neither reading fits.
    """
    width = 8 * stored.codes.itemsize
    bits, high_bit = stored.bits, whole_number_of(dataset, "HighBit", stored.bits - 1)
    if bits == width or not len(present) or fits_in_bits(present, bits, width, stored.is_signed):
        return bits, 0
    if bits - 1 < high_bit < width:
        return bits, high_bit + 1 - bits
    if any("OverlayData" not in group and group.get("position", 0) >= bits for group in overlays_of(dataset)):
        return bits, 0
    largest = max(whole_number_of(dataset, name) for name in ("LargestImagePixelValue", "LargestPixelValueInSeries"))
    needed = max(bits, int(present.max()).bit_length()) if not stored.is_signed else width
    if largest.bit_length() > bits:
        return needed, 0
    near_full, near_masked, pairs = count_nearer(stored, bits)
    if pairs and near_full >= 3 * near_masked:
        return needed, 0
    if (pairs and near_masked >= 10 * near_full) or (not pairs and not is_absolute):
        return bits, 0
    what = f"has values of {int(present.max()).bit_length()} bits where its header says BitsStored {stored.bits}"
    raise Unreadable(what, "correct BitsStored and HighBit", "bits")


def fits_in_bits(present: np.ndarray, bits: int, width: int, is_signed: bool) -> bool:
    """Whether `bits` of their `width` bits hold all codes; the rest may repeat the sign of negative ones."""
    if int(present.max()) >> bits == 0:
        return True
    return is_signed and bool((values_of(present, bits, 0, True) == values_of(present, width, 0, True)).all())


def overlays_of(dataset: Dataset) -> list[dict]:
    """The overlays of a header. One that lies in the upper bits of the pixels has no OverlayData (PS3.3, C.9.2)."""
    groups = sorted({tag >> 16 for tag in dataset.keys() if tag >> 24 == 0x60 and (tag >> 16) % 2 == 0})  # noqa: SIM118
    overlays = []
    for group in groups:
        block: dict = {}
        if (group << 16) + 0x3000 in dataset:
            block["OverlayData"] = True
        element = dataset.get((group << 16) + 0x0102)
        text = str(getattr(element, "value", ""))
        block["position"] = int(text) if text.isdecimal() else 0
        overlays.append(block)
    return overlays


def count_nearer(stored: Stored, bits: int) -> tuple[int, int, int]:
    """Of the neighbours that differ in their upper bits, how many are nearer with and without these; and all."""
    width = 8 * stored.codes.itemsize
    step = max(1, stored.codes.size // MAX_PAIRS)
    counts = np.zeros(3, np.int64)
    for axis in (0, 1):
        part = stored.codes[::step] if axis else stored.codes[:, ::step]
        full = values_of(part, width, 0, stored.is_signed)
        masked = values_of(part, bits, 0, stored.is_signed)
        upper = np.diff(full >> bits, axis=axis)
        # in a smooth image the upper bits change by 1; larger changes are edges
        differs = np.abs(upper) == 1 if (np.abs(upper) == 1).any() else upper != 0
        with_upper, without = (np.abs(np.diff(each, axis=axis))[differs] for each in (full, masked))
        counts += (with_upper < without).sum(), (without < with_upper).sum(), differs.sum()
    return int(counts[0]), int(counts[1]), int(counts[2])


def has_pixels(dataset: Dataset) -> bool:
    return any(bytes_of(dataset, name) for name in PIXELS)


def frames_of(dataset: Dataset) -> int:
    """NumberOfFrames of the header; 1 where it is missing or not positive."""
    return max(1, whole_number_of(dataset, "NumberOfFrames", 1)) if texts_of(dataset, "NumberOfFrames") else 1
