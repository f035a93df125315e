"""One compressed frame of a DICOM file, to the values that were stored in it.

The first bytes of a frame decide what it is: a file may say JPEG Baseline and hold another JPEG process. The size that
the frame states is compared with the DICOM header before decoding, since decoders reserve memory for that size.

libjpeg-turbo (simplejpeg) decodes 8-bit JPEG, imagecodecs the rest: lossless and 12-bit JPEG through libjpeg-turbo too,
JPEG-LS through CharLS, JPEG 2000 and HTJ2K through OpenJPEG, the packed bytes of RLE.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from pydicom.encaps import get_frame
from pydicom.uid import UID, RLELossless

READABLE = {
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70, 80, 81, 90, 91, 201, 202, 203)),
    str(RLELossless),
    "1.2.840.10008.1.2.1.98",  # uncompressed, in items
}  # transfer syntaxes
CONVERT = "convert it to an uncompressed DICOM"
VIDEO = f"it is a video; {CONVERT} of one frame"
JPEG_XL = dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112)), "JPEG XL")
OTHER_DECODERS = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (52, 54, 56, *range(58, 67))), "pylibjpeg-libjpeg"),
    **dict.fromkeys(("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"), "glymur"),
    **dict.fromkeys(JPEG_XL, "imagecodecs"),
}  # {other transfer syntax: the package that decodes its frames}
LOSSY_JPEG, LOSSLESS_JPEG, OTHER_JPEG = (0xC0, 0xC1, 0xC2), 0xC3, (0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
JPEG_LS = 0xF7
RLE_HEADER = 64  # bytes
RLE_GAIN = 64  # two bytes can encode 128


class Unreadable(Exception):
    """A frame that is damaged or differs from its header. The text says what is wrong, `fix` what to do."""

    def __init__(self, what: str, fix: str = "get the file again from where it came from", code: str = "pixels"):
        super().__init__(what)
        self.fix, self.code = fix, code


class FrameHeader(NamedTuple):
    """What a frame states. bits: per value. is_gray_ready: 8-bit JPEG that libjpeg-turbo decodes directly to gray."""

    kind: str
    rows: int
    columns: int
    samples: int
    bits: int
    is_gray_ready: bool = False


def only_frame(encapsulated: bytes) -> bytes:
    """The only frame in the Pixel Data of a compressed file. Raises Unreadable."""
    try:
        return get_frame(encapsulated, 0, number_of_frames=1)
    except Exception as error:  # pydicom raises exceptions of many kinds for damaged items
        raise Unreadable(f"its compressed pixels are damaged ({error_text(error)})") from error


def read_frame_header(frame: bytes, photometric: str) -> FrameHeader:
    """Read the header of a frame that is JPEG of any kind. Raises Unreadable."""
    if frame[:2] == b"\xff\xd8":
        return read_jpeg_header(frame, photometric)
    start = frame.find(b"\xff\x4f\xff\x51")  # JPEG 2000: SOC, SIZ; a JP2 file has boxes before it
    if start >= 0:
        return read_jpeg_2000_header(frame[start + 4 : start + 64])
    raise Unreadable(f"its pixels start with {frame[:4].hex(' ')}, which is not a JPEG of any kind")


def read_jpeg_header(frame: bytes, photometric: str) -> FrameHeader:
    place, colour_is_stated = 2, False
    while True:
        while frame[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if len(frame) < place + 10 or frame[place] != 0xFF:
            raise Unreadable("its JPEG has no frame header")
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4])
        segment = frame[place + 4 : place + 2 + length]
        if marker == 0xEE and segment[:5] == b"Adobe" and len(segment) >= 12:
            colour_is_stated = True  # Adobe's segment says whether the colour was transformed
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == JPEG_LS:
            break
        if marker == 0xDA or length < 2:
            raise Unreadable("its JPEG has no frame header")
        place += 2 + length
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise Unreadable("its JPEG has no frame header")
    bits, samples = segment[0], segment[5]
    rows, columns = int.from_bytes(segment[1:3]), int.from_bytes(segment[3:5])
    if marker in OTHER_JPEG:
        what = "is compressed as arithmetic or hierarchical JPEG"
        raise Unreadable(what, f"decode it with pylibjpeg-libjpeg (GPL), or {CONVERT}", "compression")
    if frame.rfind(b"\xff\xd9", place) < 0:
        raise Unreadable("its pixels are truncated (the JPEG has no end)", "get the whole file", "truncated")
    if marker == JPEG_LS:
        return FrameHeader("JPEG-LS", rows, columns, samples, bits)
    if marker == LOSSLESS_JPEG:
        return FrameHeader("lossless JPEG", rows, columns, samples, bits)
    names = bytes(segment[6 + 3 * number] for number in range(samples))
    # where the JPEG does not state its colours, libjpeg assumes YCbCr, but the DICOM header may say RGB
    is_ambiguous = samples == 3 and photometric == "RGB" and not colour_is_stated and names != b"RGB"
    return FrameHeader("JPEG", rows, columns, samples, bits, bits == 8 and samples in (1, 3) and not is_ambiguous)


def read_jpeg_2000_header(size: bytes) -> FrameHeader:
    """Read a SIZ segment, which starts with its length (ISO/IEC 15444-1, A.5.1)."""
    if len(size) < 39:
        raise Unreadable("its JPEG 2000 has no frame header")
    right, bottom, left, top = (int.from_bytes(size[4 + 4 * k : 8 + 4 * k]) for k in range(4))
    return FrameHeader("JPEG 2000", bottom - top, right - left, int.from_bytes(size[36:38]), (size[38] & 0x7F) + 1)


def decode_jpeg(frame: bytes, header: FrameHeader) -> np.ndarray:
    """Decode a frame to (rows, columns) or (rows, columns, 3) unsigned values, negative ones in two's complement.

    Raises:
        Unreadable: the frame is damaged.
    """
    try:
        values = DECODERS[header.kind](frame, header)
    except Exception as error:  # each decoder has its own exceptions
        raise Unreadable(f"its {header.kind} cannot be decoded ({error_text(error)})") from error
    shape = (header.rows, header.columns) + ((header.samples,) if header.samples > 1 else ())
    if values.shape != shape or values.dtype.kind not in "ui":
        raise Unreadable(f"its {header.kind} decodes to {values.shape} {values.dtype} instead of {shape}")
    return values.view(f"u{values.dtype.itemsize}")


def decode_rle(frame: bytes, rows: int, columns: int, samples: int, item_bytes: int) -> np.ndarray:
    """Decode RLE to (rows, columns) or (rows, columns, samples), unsigned, `item_bytes` bytes per value.

    There is one segment for each byte of a value, the most significant first (PS3.5, annex G).

    Raises:
        Unreadable: the frame is damaged, or too short for so many pixels.
    """
    import imagecodecs

    starts = np.frombuffer(frame[:RLE_HEADER].ljust(RLE_HEADER, b"\0"), "<u4").astype(np.int64)
    count, expected = int(starts[0]), samples * item_bytes
    if len(frame) < RLE_HEADER or count != expected:
        raise Unreadable(f"its RLE has {count} segments where its header asks for {expected}")
    ends = [*starts[2 : count + 1].tolist(), len(frame)]
    planes = np.empty((rows, columns, samples, item_bytes), np.uint8)
    for number, (start, end) in enumerate(zip(starts[1 : count + 1].tolist(), ends)):
        if not RLE_HEADER <= start < end <= len(frame):
            raise Unreadable("its RLE segments lie outside its pixel data")
        if (end - start) * RLE_GAIN < rows * columns:
            what = f"has {end - start} bytes of RLE, too few for {rows} x {columns} pixels"
            raise Unreadable(what, "get the whole file", "truncated")
        try:
            values = np.frombuffer(imagecodecs.packbits_decode(memoryview(frame)[start:end]), np.uint8)
        except Exception as error:
            raise Unreadable(f"its RLE cannot be decoded ({error_text(error)})") from error
        if len(values) < rows * columns:
            what = f"its RLE gives {len(values)} of {rows * columns} pixels"
            raise Unreadable(what, "get the whole file", "truncated")
        sample, byte = divmod(number, item_bytes)
        planes[..., sample, item_bytes - 1 - byte] = values[: rows * columns].reshape(rows, columns)
    values = planes.view(f"<u{item_bytes}")[..., 0]
    return values[..., 0] if samples == 1 else values


def refuse_syntax(syntax: UID) -> None:
    """Raise Unreadable for a compression that no installed package decodes; name a package that does."""
    if str(syntax) in READABLE or (syntax.is_transfer_syntax and not syntax.is_compressed):
        return
    if str(syntax) in OTHER_DECODERS:
        fix = f"decode it with {OTHER_DECODERS[str(syntax)]}, or {CONVERT}"
    else:
        fix = (
            VIDEO if syntax.name.startswith(("MPEG", "HEVC", "SMPTE")) else f"{CONVERT} with the software that wrote it"
        )
    raise Unreadable(f"is compressed as {JPEG_XL.get(str(syntax), syntax.name)}", fix, "compression")


def error_text(error: Exception) -> str:
    """An exception's text in one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def decode_other_jpeg(frame: bytes, header: FrameHeader) -> np.ndarray:
    """Decode lossy JPEG other than 8-bit gray and YCbCr: 12 bits, or components that only the DICOM header explains."""
    import imagecodecs

    if header.samples == 3:
        return imagecodecs.jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")  # no conversion
    return imagecodecs.jpeg8_decode(frame)


def imagecodecs_decoder(name: str, **options: object) -> Callable[[bytes, FrameHeader], np.ndarray]:
    def decode(frame: bytes, header: FrameHeader) -> np.ndarray:
        import imagecodecs  # takes 0.25 s, and the competition's files do not need it

        return getattr(imagecodecs, name)(frame, **options)

    return decode


DECODERS = {
    "JPEG": decode_other_jpeg,
    "lossless JPEG": imagecodecs_decoder("jpeg8_decode"),
    "JPEG-LS": imagecodecs_decoder("jpegls_decode"),
    "JPEG 2000": imagecodecs_decoder("jpeg2k_decode", numthreads=1),
}
