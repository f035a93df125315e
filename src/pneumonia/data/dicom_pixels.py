"""Stored values to 8 bits of gray, in the standard's order (PS3.3, C.11; PS3.4, N.2): palette or colour, modality,
values of interest, presentation.

Up to 16 bits all steps are worked out once for every value that occurs, and the image is one look-up: little memory,
and the same path for every encoding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from pneumonia.data.dicom_codecs import Unreadable, cause_of
from pneumonia.data.dicom_elements import (
    bytes_of,
    items_of,
    number_of,
    numbers_of,
    tag_of,
    whole_number_of,
    word_of,
)
from pneumonia.data.dicom_elements import is_little_endian as is_little
from pneumonia.data.dicom_stored import Stored, believed_bits, values_of

BLOCK = 1 << 18  # pixels worked on at a time
DISPLAY_TAGS = {
    tag_of(keyword)
    for keyword in (
        "ModalityLUTSequence", "RescaleSlope", "VOILUTSequence", "WindowCenter", "PixelPaddingValue",
        "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue", "PresentationLUTShape",
    )
}  # fmt: skip


@dataclass(frozen=True)
class LookUpTable:
    """entries: what the value `first` and those after it become, of `bits` bits."""

    first: int
    entries: np.ndarray
    bits: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[places.astype(np.int64)].astype(np.float64)


@dataclass(frozen=True)
class Display:
    """How a header says that stored values become gray. window: centre, width, function; padding: lowest, highest."""

    slope: float = 1
    intercept: float = 0
    modality_table: LookUpTable | None = None
    interest_table: LookUpTable | None = None
    window: tuple[float, float, str] | None = None
    padding: tuple[float, float] | None = None
    is_inverted: bool = False

    @property
    def is_absolute(self) -> bool:
        """Whether it asks for the values themselves, and not only for what is more and what is less."""
        return bool(self.modality_table or self.interest_table or self.window)

    @property
    def keeps_8_bits(self) -> bool:
        """Whether 8-bit values stay as they are, but for inverting."""
        return not self.is_absolute and self.padding is None and self.slope > 0

    def modality(self, values: np.ndarray) -> np.ndarray:
        """Stored values in the modality's own units."""
        return self.modality_table(values) if self.modality_table else values * self.slope + self.intercept

    def shades(self, values: np.ndarray, padded: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
        """uint8 of stored values; `limits`: what is black and white, in the modality's units, where the header does not
        say."""
        values = self.modality(values)
        if self.interest_table:
            gray = self.interest_table(values) * (255 / (2**self.interest_table.bits - 1))
        elif self.window:
            gray = windowed(values, *self.window)
        else:
            low, high = limits
            gray = (values - low) * (255 / (high - low)) if high > low else np.zeros(values.shape)
        gray = np.rint(np.clip(gray, 0, 255)).astype(np.uint8)
        if self.is_inverted:
            gray = 255 - gray
        gray[padded] = 0
        return gray


def windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Values of 0 to 255 (PS3.3, C.11.2.1.2)."""
    if function == "SIGMOID":
        return 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return ((values - centre) / width + 0.5) * 255
    if width == 1:
        return np.where(values > centre - 0.5, 255.0, 0.0)
    return ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255


# ------------------------------------------------------------------ what the header says


def display_of(dataset: Dataset) -> Display:
    """Raises Unreadable: a table that is there is damaged."""
    inverted = word_of(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if DISPLAY_TAGS.isdisjoint(dataset.keys()):  # the competition's files
        return Display(is_inverted=inverted)
    # the standard asks for INVERSE with MONOCHROME1, so the two together invert once
    inverted = inverted or word_of(dataset, "PresentationLUTShape") == "INVERSE"
    slope, intercept = number_of(dataset, "RescaleSlope", 1) or 1.0, number_of(dataset, "RescaleIntercept", 0)
    is_signed = whole_number_of(dataset, "PixelRepresentation") == 1
    modality = table_of(dataset, "ModalityLUTSequence", is_signed)
    bits = min(16, max(1, whole_number_of(dataset, "BitsStored", 16)))
    lowest = 0 if modality else min(slope * end for end in ends_of(bits, is_signed)) + intercept
    interest = table_of(dataset, "VOILUTSequence", lowest < 0)
    window = None if interest else window_of(dataset)
    return Display(slope, intercept, modality, interest, window, padding_of(dataset), inverted)


def ends_of(bits: int, is_signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)


def window_of(dataset: Dataset) -> tuple[float, float, str] | None:
    """The first window that is one."""
    function = word_of(dataset, "VOILUTFunction")
    function = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    for centre, width in zip(numbers_of(dataset, "WindowCenter"), numbers_of(dataset, "WindowWidth")):
        if math.isfinite(centre) and (width >= 1 if function == "LINEAR" else width > 0):
            return centre, width, function
    return None


def padding_of(dataset: Dataset) -> tuple[float, float] | None:
    """The lowest and highest stored value that is no image, as the header writes them."""
    for kind in ("", "Float", "DoubleFloat"):
        value = number_of(dataset, f"{kind or ''}PixelPaddingValue")
        if math.isfinite(value):
            limit = number_of(dataset, f"{kind}PixelPaddingRangeLimit", value)
            return value, limit
    return None


def table_of(dataset: Dataset, keyword: str, is_signed: bool) -> LookUpTable | None:
    """The first table of a sequence (PS3.3, C.11.1.1); None where there is none.

    Args:
        is_signed: what it is looked up by may be negative: a descriptor that was written as unsigned then wraps.

    Raises:
        Unreadable: it has fewer entries than it says.
    """
    items = items_of(dataset, keyword)
    descriptor = numbers_of(items[0], "LUTDescriptor") if items else []
    if len(descriptor) < 3 or not all(map(math.isfinite, descriptor)):
        return None
    count, first, bits = (int(each) for each in descriptor[:3])
    count, first = count % 2**16 or 2**16, first - 2**16 if is_signed and first >= 2**15 else first
    entries = entries_of(items[0], count, bits)
    if not len(entries):
        return None
    if len(entries) < count:
        name = "Modality LUT" if keyword.startswith("Modality") else "VOI LUT"
        raise Unreadable(f"its {name} has {len(entries)} of {count} entries")
    needed = int(entries.max()).bit_length()
    return LookUpTable(first, entries, max(needed, bits if 8 <= bits <= 16 else 8))


def entries_of(item: Dataset, count: int, bits: int) -> np.ndarray:
    data = bytes_of(item, "LUTData")
    if not data:
        values = numbers_of(item, "LUTData")
        return np.array([int(each) % 2**16 for each in values[:count] if math.isfinite(each)], np.uint16)
    element = item.get_item(tag_of("LUTData"))
    order = "<" if is_little(element, item) else ">"
    if bits <= 8 and len(data) in (count, count + count % 2) and count > 1:  # one byte each, in words
        words = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2").astype("<u2")
        return np.frombuffer(words.tobytes() if element.VR == "OW" else data, np.uint8)[:count]
    return np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")[:count].astype(np.uint16)


# ------------------------------------------------------------------ the image


def gray_of(stored: Stored, dataset: Dataset) -> np.ndarray:
    """(rows, columns) uint8, white is dense.

    Raises:
        Unreadable: the header asks for what cannot be.
    """
    codes = stored.codes
    if stored.is_luma or codes.ndim == 3:
        return gray_of_colour(stored)
    if word_of(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        return gray_of_palette(stored, dataset)
    display = display_of(dataset)
    if stored.is_8_bit and display.keeps_8_bits:
        return 255 - codes if display.is_inverted else codes
    if codes.dtype.kind == "f" or codes.itemsize > 2:
        return gray_of_wide(stored, display)
    width = 8 * codes.itemsize
    present = occurring(codes)
    padding = None if display.padding is None else padding_codes(display.padding, width, stored.is_signed)
    padded = within(values_of(present, width, 0, stored.is_signed), padding)
    bits, shift = believed_bits(stored, present[~padded], dataset, display.is_absolute)
    values = values_of(present, bits, shift, stored.is_signed)
    padded |= within(values, padding)
    limits = np.array([0.0, 255.0]) if stored.is_8_bit and not display.modality_table else values[~padded]
    table = np.zeros(1 << width, np.uint8)
    table[present] = display.shades(values.astype(np.float64), padded, extent(display.modality(limits)))
    return looked_up(codes, table)


def padding_codes(padding: tuple[float, float], width: int, is_signed: bool) -> tuple[int, int] | None:
    """The padding as values of a container of `width` bits: 65535 is -1 where values are signed."""
    low, high = ends_of(width, is_signed)
    if not all(-(2 ** (width - 1)) <= each < 2**width and each == int(each) for each in padding):
        return None if padding[0] == padding[1] else padding_codes((padding[0], padding[0]), width, is_signed)
    wrapped = [2**width if each < low else -(2**width) if each > high else 0 for each in padding]
    ends = [int(each) + turn for each, turn in zip(padding, wrapped)]
    return min(ends), max(ends)


def within(values: np.ndarray, padding: tuple[float, float] | None) -> np.ndarray:
    if padding is None:
        return np.zeros(values.shape, bool)
    return (values >= min(padding)) & (values <= max(padding))


def extent(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def gray_of_wide(stored: Stored, display: Display) -> np.ndarray:
    """Of 32 bits and more, or floats: block by block, once for the limits and once for the shades."""
    width, is_float = 8 * stored.codes.itemsize, stored.codes.dtype.kind == "f"
    padding = display.padding
    if padding and not is_float:
        padding = padding_codes(padding, width, stored.is_signed)

    def of(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = block if is_float else values_of(block, min(stored.bits, 63), 0, stored.is_signed)
        with np.errstate(invalid="ignore"):  # there are floats that are no numbers
            values = values.astype(np.float64)
        padded = within(values, padding) | ~np.isfinite(values)
        return np.where(padded, 0, values), padded

    ends = []
    for block, _ in blocks(stored.codes):
        values, padded = of(block)
        if not padded.all():
            ends += extent(display.modality(values[~padded]))
    limits = extent(np.array(ends))
    gray = np.empty(stored.codes.shape, np.uint8)
    for block, place in blocks(stored.codes):
        gray[place] = display.shades(*of(block), limits)
    return gray


def gray_of_colour(stored: Stored) -> np.ndarray:
    """Windows and tables are of gray images only. Of colour above 8 bits the upper 8 of its bits are kept."""
    codes = stored.codes
    if codes.dtype.kind == "f":
        raise Unreadable("has colours that are floats", "store it with 8 or 16 bits")
    bits = stored.bits
    if codes.itemsize > 2:
        codes, bits = (codes >> max(0, bits - 16)).clip(0, 2**16 - 1).astype(np.uint16), min(16, bits)
    codes = np.ascontiguousarray(codes)
    gray = codes if stored.is_luma else cv2.cvtColor(codes, cv2.COLOR_RGB2GRAY)
    if codes.dtype == np.uint8:
        return gray
    bits = max(bits, int(codes.max()).bit_length())
    return looked_up(gray, (np.arange(1 << 16) >> max(0, bits - 8)).clip(0, 255).astype(np.uint8))


def gray_of_palette(stored: Stored, dataset: Dataset) -> np.ndarray:
    width = 8 * stored.codes.itemsize
    if width > 16:
        raise Unreadable(f"has {width} bits of PALETTE COLOR", "store it in gray")
    present = occurring(stored.codes)
    try:
        colours = apply_color_lut(values_of(present, stored.bits, 0, stored.is_signed), dataset)[:, :3]
    except Exception as error:  # pydicom meets damaged tables with whatever it stumbles over
        raise Unreadable(f"its palette cannot be read ({cause_of(error)})", "store it in gray") from error
    # 16-bit entries that hold 8 bits are a known mistake
    bits = 8 if int(colours.max(initial=0)) < 256 else 16
    gray = cv2.cvtColor(np.ascontiguousarray(colours[None].astype(f"u{bits // 8}")), cv2.COLOR_RGB2GRAY)[0]
    table = np.zeros(1 << width, np.uint8)
    table[present] = gray >> (bits - 8)
    return looked_up(stored.codes, table)


def occurring(codes: np.ndarray) -> np.ndarray:
    """The codes that occur, ascending."""
    counts = np.zeros(1 << (8 * codes.itemsize), np.int64)
    for block, _ in blocks(codes):
        counts += np.bincount(block.ravel(), minlength=len(counts))
    return np.flatnonzero(counts)


def looked_up(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    gray = np.empty(codes.shape, np.uint8)
    for block, place in blocks(codes):
        np.take(table, block, out=gray[place], mode="clip")
    return gray


def blocks(codes: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Some rows at a time, and which."""
    step = max(1, BLOCK // codes.shape[1])
    for start in range(0, len(codes), step):
        place = slice(start, start + step)
        yield codes[place], place
