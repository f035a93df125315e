"""What a DICOM header asks for between stored values and gray: modality, values of interest, presentation.

PS3.3, C.11 and PS3.4, N.2.
"""

import math
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from pneumonia.data.dicom_codecs import Unreadable
from pneumonia.data.dicom_elements import (
    bytes_of,
    is_little_endian,
    items_of,
    number_of,
    numbers_of,
    tag_of,
    whole_number_of,
    word_of,
)

DISPLAY_TAGS = {
    tag_of(keyword)
    for keyword in (
        "ModalityLUTSequence", "RescaleSlope", "VOILUTSequence", "WindowCenter", "PixelPaddingValue",
        "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue", "PresentationLUTShape",
    )
}  # fmt: skip


@dataclass(frozen=True)
class LookUpTable:
    """entries: what the value `first` and those after it become; `bits`: how many bits an entry has."""

    first: int
    entries: np.ndarray
    bits: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        positions = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[positions.astype(np.int64)].astype(np.float64)


@dataclass(frozen=True)
class Display:
    """How stored values become gray. window: centre, width, function; padding: lowest and highest value."""

    slope: float = 1
    intercept: float = 0
    modality_table: LookUpTable | None = None
    interest_table: LookUpTable | None = None
    window: tuple[float, float, str] | None = None
    padding: tuple[float, float] | None = None
    is_inverted: bool = False

    @property
    def is_absolute(self) -> bool:
        """Whether it needs the values themselves; otherwise only their order and differences matter."""
        return bool(self.modality_table or self.interest_table or self.window)

    @property
    def keeps_8_bits(self) -> bool:
        """Whether 8-bit values stay as they are, except that they may be inverted."""
        return not self.is_absolute and self.padding is None and self.slope > 0

    def to_modality(self, values: np.ndarray) -> np.ndarray:
        """Stored values in the modality's units."""
        return self.modality_table(values) if self.modality_table else values * self.slope + self.intercept

    def gray_levels(self, values: np.ndarray, padded: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
        """Stored values to uint8 gray.

        Args:
            padded: which of the values are padding; they become black.
            limits: the values of black and white, in the modality's units, where the header has no window or table.
        """
        values = self.to_modality(values)
        if self.interest_table:
            gray = self.interest_table(values) * (255 / (2**self.interest_table.bits - 1))
        elif self.window:
            gray = apply_window(values, *self.window)
        else:
            low, high = limits
            gray = (values - low) * (255 / (high - low)) if high > low else np.zeros(values.shape)
        gray = np.rint(np.clip(gray, 0, 255)).astype(np.uint8)
        if self.is_inverted:
            gray = 255 - gray
        gray[padded] = 0
        return gray


def apply_window(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Map a window to 0 .. 255 (PS3.3, C.11.2.1.2); values outside it lie beyond."""
    if function == "SIGMOID":
        return 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return ((values - centre) / width + 0.5) * 255
    if width == 1:
        return np.where(values > centre - 0.5, 255.0, 0.0)
    return ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255


def display_of(dataset: Dataset) -> Display:
    """Read how a header displays its image. Raises Unreadable for a damaged table."""
    inverted = word_of(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if DISPLAY_TAGS.isdisjoint(dataset.keys()):  # the competition's files
        return Display(is_inverted=inverted)
    # MONOCHROME1 requires INVERSE, so that the two together invert once
    inverted = inverted or word_of(dataset, "PresentationLUTShape") == "INVERSE"
    slope, intercept = number_of(dataset, "RescaleSlope", 1) or 1.0, number_of(dataset, "RescaleIntercept", 0)
    is_signed = whole_number_of(dataset, "PixelRepresentation") == 1
    modality = table_of(dataset, "ModalityLUTSequence", is_signed)
    bits = min(16, max(1, whole_number_of(dataset, "BitsStored", 16)))
    lowest = 0 if modality else min(slope * limit for limit in value_limits(bits, is_signed)) + intercept
    interest = table_of(dataset, "VOILUTSequence", lowest < 0)
    window = None if interest else window_of(dataset)
    return Display(slope, intercept, modality, interest, window, padding_of(dataset), inverted)


def value_limits(bits: int, is_signed: bool) -> tuple[int, int]:
    """The lowest and highest whole number of `bits` bits."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)


def window_of(dataset: Dataset) -> tuple[float, float, str] | None:
    """The first valid window: centre, width, function."""
    function = word_of(dataset, "VOILUTFunction")
    function = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    for centre, width in zip(numbers_of(dataset, "WindowCenter"), numbers_of(dataset, "WindowWidth")):
        if math.isfinite(centre) and (width >= 1 if function == "LINEAR" else width > 0):
            return centre, width, function
    return None


def padding_of(dataset: Dataset) -> tuple[float, float] | None:
    """The range of stored values that are not part of the image, in the header's order, which may be descending."""
    for kind in ("", "Float", "DoubleFloat"):
        value = number_of(dataset, f"{kind}PixelPaddingValue")
        if math.isfinite(value):
            limit = number_of(dataset, f"{kind}PixelPaddingRangeLimit", value)
            return value, limit
    return None


def table_of(dataset: Dataset, keyword: str, is_signed: bool) -> LookUpTable | None:
    """The first table of a sequence (PS3.3, C.11.1.1); None where there is none.

    Args:
        is_signed: its inputs may be negative: a first value that was written as unsigned then wraps.

    Raises:
        Unreadable: it has fewer entries than its descriptor says.
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
    """LUTData as (at most `count`,) uint8 or uint16."""
    data = bytes_of(item, "LUTData")
    if not data:
        values = numbers_of(item, "LUTData")
        return np.array([int(each) % 2**16 for each in values[:count] if math.isfinite(each)], np.uint16)
    element = item.get_item(tag_of("LUTData"))
    order = "<" if is_little_endian(element, item) else ">"
    if bits <= 8 and len(data) in (count, count + count % 2) and count > 1:  # one byte per entry, stored in words
        words = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2").astype("<u2")
        return np.frombuffer(words.tobytes() if element.VR == "OW" else data, np.uint8)[:count]
    return np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")[:count].astype(np.uint16)
