"""The pixel data of a DICOM file, compressed or not, to the values that are stored in it."""

from typing import NamedTuple

import numpy as np
import simplejpeg
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from pneumonia.data.dicom_codecs import Unreadable, decoded_jpeg, decoded_rle, described, frame_of, refuse_syntax
from pneumonia.data.dicom_elements import bytes_of, is_little_endian, tag_of, texts_of, whole_number_of, word_of

FLOAT_PIXELS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
PIXELS = ("PixelData", *FLOAT_PIXELS)
HALF_CHROMA = ("YBR_FULL_422", "YBR_PARTIAL_422")  # two pixels share a pair of colour differences
ITEM = b"\xfe\xff\x00\xe0"  # begins what belongs to compressed frames only
UNCOMPRESSED_IN_ITEMS = "1.2.840.10008.1.2.1.98"  # a transfer syntax
ENOUGH_PAIRS = 1_000_000  # neighbours to look at before bits are believed


class Stored(NamedTuple):
    """codes: (rows, columns) or (rows, columns, 3), unsigned as they lie in the file, or floats. bits: of a value, of
    those its container has; negative values in two's complement where `is_signed`. is_luma: lightness already, where
    the file holds colour. is_8_bit: what needs no stretching."""

    codes: np.ndarray
    bits: int
    is_signed: bool
    is_luma: bool = False
    is_8_bit: bool = False


def stored_pixels(dataset: Dataset, rows: int, columns: int, size: int = 0) -> Stored:
    """The values of the only frame.

    Args:
        size: 8-bit JPEG may be decoded smaller, at no less than this; 0: at full size.

    Raises:
        Unreadable: they cannot be decoded, or are not what the header says.
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
        codes = uncompressed(dataset, rows, columns, samples, photometric)
    elif syntax == RLELossless:
        width = allocated_bits(dataset, 0, rows * columns * samples)
        if width % 8:
            raise Unreadable(f"has {width} bits a value, which RLE cannot hold")
        codes = decoded_rle(frame_of(bytes_of(dataset, "PixelData")), rows, columns, samples, width // 8)
    else:
        frame = frame_of(bytes_of(dataset, "PixelData"))
        facts = described(frame, photometric)
        if (facts.rows, facts.columns) != (rows, columns):
            what = f"its {facts.kind} is {facts.rows} x {facts.columns}, its header says {rows} x {columns}"
            raise Unreadable(what)
        if facts.samples not in (1, 3):
            raise Unreadable(f"its {facts.kind} has {facts.samples} components, where 1 or 3 belong")
        if facts.is_gray_ready:  # libjpeg-turbo leaves colour out; this process knows no negative values
            return Stored(decoded_gray(frame, rows, columns, size), 8, False, facts.samples == 3, True)
        codes = decoded_jpeg(frame, facts)
        is_luma = is_luma and codes.ndim == 3
        bits = bits_stored(dataset, facts.bits)
        return Stored(codes[..., 0] if is_luma else codes, bits, is_signed, is_luma, is_8_bit=facts.bits == bits == 8)
    if is_luma:
        codes = codes[..., 0] if codes.ndim == 3 else codes
        if photometric == "YBR_PARTIAL_422":
            codes = np.clip((codes.astype(np.float32) - 16) * (255 / 219), 0, 255).round().astype(np.uint8)
    bits = bits_stored(dataset, 8 * codes.itemsize)
    return Stored(codes, bits, is_signed, is_luma, is_8_bit=codes.dtype == np.uint8 and bits == 8 and not is_signed)


def decoded_gray(frame: bytes, rows: int, columns: int, size: int) -> np.ndarray:
    """(rows, columns) uint8, or a half, a quarter of that where `size` allows it."""
    # libjpeg-turbo's own scaling is as good as area averaging by factors of two; else leave averaging something to do
    exact = rows == columns and size and rows % size == 0 and rows // size in (2, 4, 8)
    least = size if exact else size * 3 // 2
    try:
        return simplejpeg.decode_jpeg(frame, "GRAY", min_height=least, min_width=least, min_factor=1)[..., 0]
    except ValueError as error:
        raise Unreadable(f"its JPEG cannot be decoded ({error})") from error


def bits_stored(dataset: Dataset, most: int) -> int:
    bits = whole_number_of(dataset, "BitsStored")
    return bits if 0 < bits < most else most


def allocated_bits(dataset: Dataset, length: int, values: int) -> int:
    """Bits that a value takes in the file; as its `length` in bytes says, where the header does not say."""
    allocated = whole_number_of(dataset, "BitsAllocated")
    if allocated <= 0:
        allocated = 16 if (length >= 2 * values if length else whole_number_of(dataset, "BitsStored") > 8) else 8
    if allocated not in (1, 8, 16, 32, 64):
        raise Unreadable(f"has {allocated} bits allocated", "store it with 8 or 16 bits allocated")
    return allocated


# ------------------------------------------------------------------ uncompressed


def uncompressed(dataset: Dataset, rows: int, columns: int, samples: int, photometric: str) -> np.ndarray:
    """(rows, columns) or (rows, columns, 3) as stored; (rows, columns) of lightness where colours share values."""
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
        data = frame_of(data)
    if len(data) < expected:
        what = f"has {len(data)} bytes of pixels where {expected} belong"
        raise Unreadable(what, "get the whole file", "truncated")
    if len(data) - expected > max(1, expected - 1):
        what = f"has {len(data)} bytes of pixels where {expected} belong"
        raise Unreadable(what, "check its rows, columns, frames and bits allocated")
    if width == 8 and order == ">" and element.VR == "OW" and len(data) % 2 == 0:
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()  # bytes that were stored as words
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
    """Unsigned codes to the whole numbers that `bits` of them mean, from bit `shift` on."""
    values = (codes.astype(np.int64) >> shift) & ((1 << bits) - 1)
    return np.where(values >> (bits - 1), values - (1 << bits), values) if is_signed else values


def believed_bits(stored: Stored, present: np.ndarray, dataset: Dataset, is_absolute: bool) -> tuple[int, int]:
    """How many bits of a code are its value, and from which on.

    What lies above the bits that the header counts is an overlay or left over, and to be masked; or the header is
    wrong and it belongs to the values. A radiograph is smooth: where neighbours differ in those upper bits, the right
    reading is the one in which they are near each other.

    Args:
        present: codes that occur, padding left out.
        is_absolute: a window or table asks for the values themselves, so that an offset matters.

    Raises:
        Unreadable: neither reading is right.
    """
    width = 8 * stored.codes.itemsize
    bits, high_bit = stored.bits, whole_number_of(dataset, "HighBit", stored.bits - 1)
    if bits == width or not len(present) or fits(present, bits, width, stored.is_signed):
        return bits, 0
    if bits - 1 < high_bit < width:
        return bits, high_bit + 1 - bits  # the values are in the upper bits
    if any("OverlayData" not in group and group.get("position", 0) >= bits for group in overlays_of(dataset)):
        return bits, 0
    largest = max(whole_number_of(dataset, name) for name in ("LargestImagePixelValue", "LargestPixelValueInSeries"))
    needed = max(bits, int(present.max()).bit_length()) if not stored.is_signed else width
    if largest.bit_length() > bits:
        return needed, 0
    near_full, near_masked, pairs = nearness(stored, bits)
    if pairs and near_full >= 3 * near_masked:
        return needed, 0
    if (pairs and near_masked >= 10 * near_full) or (not pairs and not is_absolute):
        return bits, 0
    what = f"has values of {int(present.max()).bit_length()} bits where its header says BitsStored {stored.bits}"
    raise Unreadable(what, "correct BitsStored and HighBit", "bits")


def fits(present: np.ndarray, bits: int, width: int, is_signed: bool) -> bool:
    if int(present.max()) >> bits == 0:
        return True
    # negative numbers may fill their container
    return is_signed and bool((values_of(present, bits, 0, True) == values_of(present, width, 0, True)).all())


def overlays_of(dataset: Dataset) -> list[dict]:
    """Planes of graphics that lie in the pixels' own upper bits have no data of their own (PS3.3, C.9.2)."""
    groups = sorted({tag >> 16 for tag in dataset.keys() if tag >> 24 == 0x60 and (tag >> 16) % 2 == 0})  # noqa: SIM118
    found = []
    for group in groups:
        block: dict = {}
        if (group << 16) + 0x3000 in dataset:
            block["OverlayData"] = True
        element = dataset.get((group << 16) + 0x0102)
        text = str(getattr(element, "value", ""))
        block["position"] = int(text) if text.isdecimal() else 0
        found.append(block)
    return found


def nearness(stored: Stored, bits: int) -> tuple[int, int, int]:
    """Of the neighbours that differ in their upper bits: how many are nearer with these, nearer without; and all."""
    width = 8 * stored.codes.itemsize
    step = max(1, stored.codes.size // ENOUGH_PAIRS)
    counts = np.zeros(3, np.int64)
    for axis in (0, 1):
        part = stored.codes[::step] if axis else stored.codes[:, ::step]
        full = values_of(part, width, 0, stored.is_signed)
        masked = values_of(part, bits, 0, stored.is_signed)
        upper = np.diff(full >> bits, axis=axis)
        # the least change of the upper bits is what a smooth image has; larger ones are edges
        differs = np.abs(upper) == 1 if (np.abs(upper) == 1).any() else upper != 0
        with_upper, without = (np.abs(np.diff(each, axis=axis))[differs] for each in (full, masked))
        counts += (with_upper < without).sum(), (without < with_upper).sum(), differs.sum()
    return int(counts[0]), int(counts[1]), int(counts[2])


def has_pixels(dataset: Dataset) -> bool:
    return any(bytes_of(dataset, name) for name in PIXELS)


def frames_of(dataset: Dataset) -> float:
    """Frames that the header counts; 1 where it says nothing that can be."""
    return max(1, whole_number_of(dataset, "NumberOfFrames", 1)) if texts_of(dataset, "NumberOfFrames") else 1
