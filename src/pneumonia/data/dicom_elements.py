"""Optional elements of a DICOM header as texts and numbers, however they were written.

Anonymisers blank elements, exporters change their value representation, scanners leave out what they do not know.
An element that is missing, empty or not a number counts as absent: nothing here raises for it.
"""

import math
import re
import struct

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

BINARY = {
    "US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q", "OW": "H", "OF": "f",
    "OD": "d", "US or SS": "H", "US or OW": "H", "US or SS or OW": "H", "OB": "B",
}  # fmt: skip
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
TAGS: dict[str, int] = {}  # {keyword: tag}, cached: pydicom's own look-up takes longer than all other steps together


def tag_of(keyword: str) -> int:
    if keyword not in TAGS:
        TAGS[keyword] = tag_for_keyword(keyword)
    return TAGS[keyword]


def texts_of(dataset: Dataset, keyword: str) -> list[str]:
    """An element's values as texts, as they are in the file; [] where it is missing or empty.

    pydicom's typed values are slower, and raise or warn for values that are not quite standard, such as the
    competition's ages.
    """
    tag = tag_of(keyword)
    element = dataset.get_item(tag)
    value = element.value if element is not None else None
    if value is None or isinstance(value, Sequence):
        return []
    if isinstance(value, bytes):
        if (representation := element.VR) in (None, "UN"):
            representation = dictionary_VR(tag)
        if representation in BINARY:
            return [
                str(each) for each in unpack_numbers(value, BINARY[representation], is_little_endian(element, dataset))
            ]
        value = value.decode("ascii" if value.isascii() else encoding_of(dataset), errors="replace")
    values = value.split("\\") if isinstance(value, str) else value
    values = values if isinstance(values, list | tuple | MultiValue) else [values]
    texts = ["" if each is None else str(each).strip("\0 ") for each in values]
    return texts if any(texts) else []


def encoding_of(dataset: Dataset) -> str:
    """UTF-8 where the file says so (ISO_IR 192), else Latin-1, which reads any byte."""
    element = dataset.get_item(tag_of("SpecificCharacterSet"))
    return "utf-8" if element is not None and "192" in str(element.value) else "latin-1"


def text_of(dataset: Dataset, keyword: str) -> str:
    """All values of an element in one text, "" where there are none."""
    return "\\".join(texts_of(dataset, keyword))


def word_of(dataset: Dataset, keyword: str) -> str:
    """The first value of an element that holds a code, in capitals."""
    return next(iter(texts_of(dataset, keyword)), "").strip().upper()


def numbers_of(dataset: Dataset, keyword: str) -> list[float]:
    """An element's values; NaN for one that is not a finite number."""
    return [parse_number(text) for text in texts_of(dataset, keyword)]


def number_of(dataset: Dataset, keyword: str, default: float = math.nan) -> float:
    """The first value of an element that is a finite number."""
    return next((value for value in numbers_of(dataset, keyword) if math.isfinite(value)), default)


def whole_number_of(dataset: Dataset, keyword: str, default: int = 0) -> int:
    return int(number_of(dataset, keyword, default))


def bytes_of(dataset: Dataset, keyword: str) -> bytes:
    """An element's bytes as they are in the file; b"" where it is missing or has another kind of value."""
    element = dataset.get_item(tag_of(keyword))
    value = element.value if element is not None else None
    return value if isinstance(value, bytes) else b""


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is missing, empty or not a sequence."""
    if tag_of(keyword) not in dataset:
        return []
    value = dataset[tag_of(keyword)].value
    return list(value) if isinstance(value, Sequence) else []


def is_little_endian(element: object, dataset: Dataset) -> bool:
    """Byte order of an element's bytes: raw elements state it, for converted ones the dataset does."""
    if (stated := getattr(element, "is_little_endian", None)) is not None:
        return bool(stated)
    return dataset.original_encoding[1] is not False


def unpack_numbers(value: bytes, letter: str, little: bool) -> tuple:
    """The whole numbers or floats in an element's bytes; `letter` is that of `struct`."""
    count = len(value) // struct.calcsize(letter)
    return struct.unpack_from(f"{'<' if little else '>'}{count}{letter}", value)


def parse_number(text: str) -> float:
    """A finite number; NaN for any other text."""
    text = text.strip()
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan
