"""From stored values to 8 bits of gray, in the standard's order (PS3.3, C.11; PS3.4, N.2): palette or colour,
modality, values of interest, presentation.

Up to 16 bits, all steps are computed once for every value that occurs, and the image is one look-up: it takes little
memory, and every encoding goes the same way.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from pneumonia.data.dicom_codecs import Unreadable, error_text
from pneumonia.data.dicom_display import Display, display_of, value_limits
from pneumonia.data.dicom_elements import word_of
from pneumonia.data.dicom_stored import Stored, find_value_bits, values_of

BLOCK = 1 << 18  # pixels processed at a time


def to_gray(stored: Stored, dataset: Dataset) -> np.ndarray:
    """Stored values to (rows, columns) uint8, dense tissue white.

    Raises:
        Unreadable: the header asks for something impossible.
    """
    codes = stored.codes
    if stored.is_luma or codes.ndim == 3:
        return colour_to_gray(stored)
    if word_of(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        return palette_to_gray(stored, dataset)
    display = display_of(dataset)
    if stored.is_8_bit and display.keeps_8_bits:
        return 255 - codes if display.is_inverted else codes
    if codes.dtype.kind == "f" or codes.itemsize > 2:
        return wide_to_gray(stored, display)
    width = 8 * codes.itemsize
    present = present_codes(codes)
    padding = None if display.padding is None else padding_codes(display.padding, width, stored.is_signed)
    padded = in_padding(values_of(present, width, 0, stored.is_signed), padding)
    bits, shift = find_value_bits(stored, present[~padded], dataset, display.is_absolute)
    values = values_of(present, bits, shift, stored.is_signed)
    padded |= in_padding(values, padding)
    limits = np.array([0.0, 255.0]) if stored.is_8_bit and not display.modality_table else values[~padded]
    table = np.zeros(1 << width, np.uint8)
    table[present] = display.gray_levels(values.astype(np.float64), padded, value_range(display.to_modality(limits)))
    return look_up(codes, table)


def padding_codes(padding: tuple[float, float], width: int, is_signed: bool) -> tuple[int, int] | None:
    """The padding range as values of `width` bits: 65535 is -1 where values are signed. None: no such value."""
    low, high = value_limits(width, is_signed)
    if not all(-(2 ** (width - 1)) <= each < 2**width and each == int(each) for each in padding):
        return None if padding[0] == padding[1] else padding_codes((padding[0], padding[0]), width, is_signed)
    shifts = [2**width if each < low else -(2**width) if each > high else 0 for each in padding]
    ends = [int(each) + shift for each, shift in zip(padding, shifts)]
    return min(ends), max(ends)


def in_padding(values: np.ndarray, padding: tuple[float, float] | None) -> np.ndarray:
    if padding is None:
        return np.zeros(values.shape, bool)
    return (values >= min(padding)) & (values <= max(padding))


def value_range(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def wide_to_gray(stored: Stored, display: Display) -> np.ndarray:
    """Convert values of 32 bits and more, or floats, by blocks: one pass for the limits, one for the gray levels."""
    width, is_float = 8 * stored.codes.itemsize, stored.codes.dtype.kind == "f"
    padding = display.padding
    if padding and not is_float:
        padding = padding_codes(padding, width, stored.is_signed)

    def read_block(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = block if is_float else values_of(block, min(stored.bits, 63), 0, stored.is_signed)
        with np.errstate(invalid="ignore"):  # floats may be NaN
            values = values.astype(np.float64)
        padded = in_padding(values, padding) | ~np.isfinite(values)
        return np.where(padded, 0, values), padded

    ends = []
    for block, _ in blocks(stored.codes):
        values, padded = read_block(block)
        if not padded.all():
            ends += value_range(display.to_modality(values[~padded]))
    limits = value_range(np.array(ends))
    gray = np.empty(stored.codes.shape, np.uint8)
    for block, place in blocks(stored.codes):
        gray[place] = display.gray_levels(*read_block(block), limits)
    return gray


def colour_to_gray(stored: Stored) -> np.ndarray:
    """Colour to lightness; of more than 8 bits the upper 8 are kept. Windows and tables belong to gray images only."""
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
    return look_up(gray, (np.arange(1 << 16) >> max(0, bits - 8)).clip(0, 255).astype(np.uint8))


def palette_to_gray(stored: Stored, dataset: Dataset) -> np.ndarray:
    """Codes of PALETTE COLOR to lightness."""
    width = 8 * stored.codes.itemsize
    if width > 16:
        raise Unreadable(f"has {width} bits of PALETTE COLOR", "store it in gray")
    present = present_codes(stored.codes)
    try:
        colours = apply_color_lut(values_of(present, stored.bits, 0, stored.is_signed), dataset)[:, :3]
    except Exception as error:  # pydicom raises exceptions of many kinds for damaged tables
        raise Unreadable(f"its palette cannot be read ({error_text(error)})", "store it in gray") from error
    # some writers store 8-bit colours in 16-bit entries
    bits = 8 if int(colours.max(initial=0)) < 256 else 16
    gray = cv2.cvtColor(np.ascontiguousarray(colours[None].astype(f"u{bits // 8}")), cv2.COLOR_RGB2GRAY)[0]
    table = np.zeros(1 << width, np.uint8)
    table[present] = gray >> (bits - 8)
    return look_up(stored.codes, table)


def present_codes(codes: np.ndarray) -> np.ndarray:
    """The codes that occur, ascending."""
    counts = np.zeros(1 << (8 * codes.itemsize), np.int64)
    for block, _ in blocks(codes):
        counts += np.bincount(block.ravel(), minlength=len(counts))
    return np.flatnonzero(counts)


def look_up(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """table[codes], block by block."""
    gray = np.empty(codes.shape, np.uint8)
    for block, place in blocks(codes):
        np.take(table, block, out=gray[place], mode="clip")
    return gray


def blocks(codes: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Some rows at a time, and their slice."""
    step = max(1, BLOCK // codes.shape[1])
    for start in range(0, len(codes), step):
        place = slice(start, start + step)
        yield codes[place], place
