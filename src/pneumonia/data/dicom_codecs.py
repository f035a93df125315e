"""One compressed frame of a DICOM file, to the values that were stored in it.

What a frame is decided by its own first bytes: a file may say JPEG Baseline and hold another process. Its own size is
compared with the header before anything is decoded, since decoders reserve what a frame claims.

libjpeg-turbo (simplejpeg) takes 8-bit JPEG, imagecodecs the rest: lossless and 12-bit JPEG through libjpeg-turbo too,
JPEG-LS through CharLS, JPEG 2000 and HTJ2K through OpenJPEG, the packed bytes of RLE.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from pydicom.encaps import get_frame
from pydicom.uid import UID, RLELossless

READ = {
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70, 80, 81, 90, 91, 201, 202, 203)),
    str(RLELossless),
    "1.2.840.10008.1.2.1.98",  # uncompressed, in items
}  # transfer syntaxes
CONVERT = "convert it to an uncompressed DICOM"
VIDEO = f"it is a video; {CONVERT} of one frame"
JPEG_XL = dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112)), "JPEG XL")
FIXES = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (52, 54, 56, *range(58, 67))), "pylibjpeg-libjpeg"),
    **dict.fromkeys(("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"), "glymur"),
    **dict.fromkeys(JPEG_XL, "imagecodecs"),
}  # other transfer syntaxes to the package that decodes their frames
LOSSY_JPEG, LOSSLESS_JPEG, OTHER_JPEG = (0xC0, 0xC1, 0xC2), 0xC3, (0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
JPEG_LS = 0xF7
RLE_HEADER = 64  # bytes
RLE_GAIN = 64  # two bytes can stand for 128


class Unreadable(Exception):
    """A frame that is damaged, or not what the header says: what is wrong; `fix`: what to do."""

    def __init__(self, what: str, fix: str = "get the file again from where it came from", code: str = "pixels"):
        super().__init__(what)
        self.fix, self.code = fix, code


class Frame(NamedTuple):
    """What a frame says of itself. bits: of its values. is_gray_ready: 8-bit JPEG that libjpeg-turbo takes to gray."""

    kind: str
    rows: int
    columns: int
    samples: int
    bits: int
    is_gray_ready: bool = False


def frame_of(encapsulated: bytes) -> bytes:
    """The one frame in the Pixel Data of a compressed file. Raises Unreadable."""
    try:
        return get_frame(encapsulated, 0, number_of_frames=1)
    except Exception as error:  # pydicom meets damaged items with whatever its parser stumbles over
        raise Unreadable(f"its compressed pixels are damaged ({cause_of(error)})") from error


def described(frame: bytes, photometric: str) -> Frame:
    """The header of a frame that is JPEG of any kind. Raises Unreadable."""
    if frame[:2] == b"\xff\xd8":
        return described_jpeg(frame, photometric)
    start = frame.find(b"\xff\x4f\xff\x51")  # JPEG 2000: SOC, SIZ; a JP2 file has boxes before it
    if start >= 0:
        return described_jpeg_2000(frame[start + 4 : start + 64])
    raise Unreadable(f"its pixels start with {frame[:4].hex(' ')}, which is no JPEG of any kind")


def described_jpeg(frame: bytes, photometric: str) -> Frame:
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
        return Frame("JPEG-LS", rows, columns, samples, bits)
    if marker == LOSSLESS_JPEG:
        return Frame("lossless JPEG", rows, columns, samples, bits)
    names = bytes(segment[6 + 3 * number] for number in range(samples))
    # without a word on its colours, libjpeg takes three components for YCbCr, where the header may know better
    is_untold = samples == 3 and photometric == "RGB" and not colour_is_stated and names != b"RGB"
    return Frame("JPEG", rows, columns, samples, bits, bits == 8 and samples in (1, 3) and not is_untold)


def described_jpeg_2000(size: bytes) -> Frame:
    """From the SIZ segment, its length first (ISO/IEC 15444-1, A.5.1)."""
    if len(size) < 39:
        raise Unreadable("its JPEG 2000 has no frame header")
    right, bottom, left, top = (int.from_bytes(size[4 + 4 * k : 8 + 4 * k]) for k in range(4))
    return Frame("JPEG 2000", bottom - top, right - left, int.from_bytes(size[36:38]), (size[38] & 0x7F) + 1)


def decoded_jpeg(frame: bytes, facts: Frame) -> np.ndarray:
    """(rows, columns) or (rows, columns, 3) unsigned: the frame's values, negative ones in two's complement.

    Raises:
        Unreadable: it is damaged.
    """
    try:
        values = DECODERS[facts.kind](frame, facts)
    except Exception as error:  # decoders have errors of their own
        raise Unreadable(f"its {facts.kind} cannot be decoded ({cause_of(error)})") from error
    shape = (facts.rows, facts.columns) + ((facts.samples,) if facts.samples > 1 else ())
    if values.shape != shape or values.dtype.kind not in "ui":
        raise Unreadable(f"its {facts.kind} gives {values.shape} {values.dtype} where {shape} belong")
    return values.view(f"u{values.dtype.itemsize}")


def decoded_rle(frame: bytes, rows: int, columns: int, samples: int, item_bytes: int) -> np.ndarray:
    """(rows, columns) or (rows, columns, samples) of `item_bytes` unsigned bytes: one segment for each byte of a value,
    the most significant first (PS3.5, annex G).

    Raises:
        Unreadable: it is damaged, or cannot hold so many pixels.
    """
    import imagecodecs

    starts = np.frombuffer(frame[:RLE_HEADER].ljust(RLE_HEADER, b"\0"), "<u4").astype(np.int64)
    count, wanted = int(starts[0]), samples * item_bytes
    if len(frame) < RLE_HEADER or count != wanted:
        raise Unreadable(f"its RLE has {count} segments where its header asks for {wanted}")
    ends = [*starts[2 : count + 1].tolist(), len(frame)]
    planes = np.empty((rows, columns, samples, item_bytes), np.uint8)
    for number, (start, end) in enumerate(zip(starts[1 : count + 1].tolist(), ends)):
        if not RLE_HEADER <= start < end <= len(frame):
            raise Unreadable("its RLE segments lie outside of its pixels")
        if (end - start) * RLE_GAIN < rows * columns:
            what = f"has {end - start} bytes of RLE, too few for {rows} x {columns} pixels"
            raise Unreadable(what, "get the whole file", "truncated")
        try:
            values = np.frombuffer(imagecodecs.packbits_decode(memoryview(frame)[start:end]), np.uint8)
        except Exception as error:
            raise Unreadable(f"its RLE cannot be decoded ({cause_of(error)})") from error
        if len(values) < rows * columns:
            what = f"its RLE gives {len(values)} of {rows * columns} pixels"
            raise Unreadable(what, "get the whole file", "truncated")
        sample, byte = divmod(number, item_bytes)
        planes[..., sample, item_bytes - 1 - byte] = values[: rows * columns].reshape(rows, columns)
    values = planes.view(f"<u{item_bytes}")[..., 0]
    return values[..., 0] if samples == 1 else values


def refuse_syntax(syntax: UID) -> None:
    """Unreadable for a compression that nothing installed reads, naming what does."""
    if str(syntax) in READ or (syntax.is_transfer_syntax and not syntax.is_compressed):
        return
    if str(syntax) in FIXES:
        fix = f"decode it with {FIXES[str(syntax)]}, or {CONVERT}"
    else:
        fix = VIDEO if syntax.name.startswith(("MPEG", "HEVC", "SMPTE")) else f"{CONVERT} where it was made"
    raise Unreadable(f"is compressed as {JPEG_XL.get(str(syntax), syntax.name)}", fix, "compression")


def cause_of(error: Exception) -> str:
    """The whole of an error's text in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def decoded_other_jpeg(frame: bytes, facts: Frame) -> np.ndarray:
    """Lossy JPEG beyond gray and YCbCr at 8 bits: 12 bits, or components that only the header of the file explains."""
    import imagecodecs

    if facts.samples == 3:
        return imagecodecs.jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")  # as they are
    return imagecodecs.jpeg8_decode(frame)


def with_imagecodecs(name: str, **options: object) -> Callable[[bytes, Frame], np.ndarray]:
    def decode(frame: bytes, facts: Frame) -> np.ndarray:
        import imagecodecs  # a quarter of a second that the competition's files need not wait for

        return getattr(imagecodecs, name)(frame, **options)

    return decode


DECODERS = {
    "JPEG": decoded_other_jpeg,
    "lossless JPEG": with_imagecodecs("jpeg8_decode"),
    "JPEG-LS": with_imagecodecs("jpegls_decode"),
    "JPEG 2000": with_imagecodecs("jpeg2k_decode", numthreads=1),
}
