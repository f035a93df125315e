"""What is not read: one line that says what it is, and what to do. Never "download it again" for a sound file."""

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from test_dicom_pixels import (
    BITS12,
    COLOUR,
    DECODED,
    JPEG,
    PICTURE,
    VALUES,
    file_bytes,
    jpeg,
    raw,
    sound_file,
    table,
    twelve,
)

from pneumonia.data.dicom import read_dicom
from pneumonia.system.errors import BadInput


def without(made, *keywords):
    for keyword in keywords:
        delattr(made, keyword)
    return made


def without_pixels(modality):
    made = without(raw(PICTURE), "PixelData", "Rows", "Columns")
    made.Modality = modality
    return made


def of_syntax(number, frame=b"\0" * 64):
    """Of a transfer syntax whose number has two digits as those of JPEG-LS, or three as those of HTJ2K."""
    made = sound_file("JPEG-LS" if number < 100 else "HTJ2K", PICTURE)
    known = str(made.file_meta.TransferSyntaxUID)
    made.PixelData = encapsulate([frame])
    return file_bytes(made).replace(known.encode(), f"1.2.840.10008.1.2.4.{number}".encode())


def with_frame(encoding, frame, pixels=PICTURE):
    made = sound_file(encoding, pixels)
    made.PixelData = encapsulate([frame])
    return made


def content(name, made=None):
    made = raw(PICTURE) if made is None else made
    data = file_bytes(made)
    if name == "no syntax":
        place = data.index(b"\x02\0\x10\0UI")
        length = 8 + int.from_bytes(data[place + 6 : place + 8], "little")
        return data[:place] + data[place + length :]
    return data[132:] if name == "no preamble" else data


def arithmetic():
    """A baseline frame whose header claims arithmetic coding."""
    return JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1)


# name: the file, what is said
REFUSED = {
    "structured report": (without_pixels("SR"), "is not an image (SR); leave it out"),
    "presentation state": (without_pixels("PR"), "is not an image (PR); leave it out"),
    "no pixels": (without(raw(PICTURE), "PixelData"), "has no pixels"),
    "no transfer syntax": (content("no syntax"), "has no Transfer Syntax UID"),
    "no preamble": (content("no preamble"), "is DICOM without its preamble"),
    "several frames": (twelve(VALUES, NumberOfFrames="2"), "has several frames"),
    "several frames that the header does not count": (
        twelve(np.concatenate([VALUES, VALUES]), Rows=len(VALUES)), "bytes of pixels instead of"),
    "too short": (raw(PICTURE, Rows=len(PICTURE) + 1), "bytes of pixels instead of"),
    "four samples": (raw(PICTURE, SamplesPerPixel=4), "has 4 samples a pixel"),
    "12 bits allocated": (raw(PICTURE, BitsAllocated=12), "has 12 bits allocated"),
    "PALETTE COLOR without its palette": (
        raw(PICTURE, PhotometricInterpretation="PALETTE COLOR"), "its palette cannot be read"),
    "a VOI LUT with half of its entries": (
        table(twelve(VALUES), "VOILUTSequence", np.zeros(4096), packed=True), "its VOI LUT has 2048 of 4096 entries"),
    "noise above BitsStored": (
        twelve(np.random.default_rng(0).integers(0, 2**16, VALUES.shape).astype(np.uint16)),
        "has values of 16 bits where its header says BitsStored 12"),
    "MPEG": (of_syntax(100), "is compressed as MPEG2"),
    "JPEG 2000 of several components": (of_syntax(92), "is compressed as JPEG 2000 Part 2"),
    "JPEG XL": (of_syntax(110), "is compressed as JPEG XL"),
    "arithmetic JPEG": (with_frame("JPEG Baseline", arithmetic()), "arithmetic or hierarchical JPEG"),
    "JPEG of another size": (jpeg(Rows=47), "its JPEG is 48 x 64, its header says 47 x 64"),
    "JPEG without an end": (with_frame("JPEG Baseline", JPEG[:-2]), "truncated (the JPEG has no end)"),
    "lossless JPEG of another size": (
        sound_file("JPEG lossless SV1", VALUES, **BITS12, Rows=47), "its lossless JPEG is 48 x 64"),
    "JPEG-LS of another size": (sound_file("JPEG-LS", VALUES, Columns=65), "its JPEG-LS is 48 x 64"),
    "JPEG 2000 of another size": (sound_file("JPEG 2000", VALUES, Columns=65), "its JPEG 2000 is 48 x 64"),
    "HTJ2K of another size": (sound_file("HTJ2K", VALUES, Columns=65), "its JPEG 2000 is 48 x 64"),
    "RLE of other bits": (sound_file("RLE", VALUES, BitsAllocated=8), "its RLE has 2 segments"),
    "RLE that cannot hold so much": (sound_file("RLE", VALUES, Rows=8000, Columns=8000), "bytes of RLE, too few"),
    "a bomb of JPEG 2000": (
        with_frame("JPEG 2000", imagecodecs.jpeg2k_encode(np.zeros((4096, 4096), np.uint8), codecformat="j2k")),
        "its JPEG 2000 is 4096 x 4096"),
    "damaged JPEG-LS": (with_frame("JPEG-LS", b"\xff\xd8\xff\xf7" + b"\0" * 64), "its JPEG has no frame header"),
    "no JPEG at all": (with_frame("JPEG Baseline", b"nothing here"), "which is not a JPEG of any kind"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tmp_path, name):
    made, said = REFUSED[name]
    path = tmp_path / "a.dcm"
    path.write_bytes(made if isinstance(made, bytes) else file_bytes(made))
    with pytest.raises(BadInput) as caught:
        read_dicom(path)
    (fault,) = caught.value.faults
    assert said in str(fault) and fault.file == str(path) and fault.fix and "\n" not in str(fault)
    assert "download" not in str(fault)


@pytest.mark.parametrize(("number", "package"), [(52, "pylibjpeg-libjpeg"), (92, "glymur"), (110, "imagecodecs")])
def test_a_compression_that_is_not_read_names_what_reads_it(tmp_path, number, package):
    path = tmp_path / "a.dcm"
    path.write_bytes(of_syntax(number))
    with pytest.raises(BadInput, match=package):
        read_dicom(path)


@pytest.mark.parametrize("encoding", ["JPEG 12 bits", "JPEG lossless", "JPEG-LS", "JPEG 2000", "HTJ2K", "RLE"])
def test_a_damaged_frame_is_named_with_its_cause(tmp_path, encoding):
    pixels = VALUES
    made = sound_file(encoding, pixels, **BITS12)
    frame = bytearray(pydicom.encaps.get_frame(made.PixelData, 0, number_of_frames=1))
    del frame[len(frame) // 2 : len(frame) - 4]
    made.PixelData = encapsulate([bytes(frame)])
    path = tmp_path / "a.dcm"
    path.write_bytes(file_bytes(made))
    try:
        gray, _ = read_dicom(path)
    except BadInput as error:
        assert "\n" not in str(error) and "(" in str(error)
    else:  # a codec that fills up what is missing
        assert gray.shape == pixels.shape


# ------------------------------------------------------------------ optional elements

ODD = ["", "0", "-1", "x", "1e999", "nan", "\\", "1\\x", " "]
OPTIONAL = ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImagerPixelSpacing",
            "PatientAge", "PatientSex", "ViewPosition", "Modality", "NumberOfFrames", "VOILUTFunction",
            "PixelAspectRatio", "PresentationLUTShape", "PixelPaddingValue", "LargestImagePixelValue",
            "PlanarConfiguration", "HighBit", "BitsStored", "RescaleType", "BurnedInAnnotation")  # fmt: skip


@pytest.mark.parametrize("keyword", OPTIONAL)
@pytest.mark.parametrize("representation", ["LO", "DS", "IS"])
def test_an_optional_element_that_says_nothing_keeps_no_file_from_being_read(tmp_path, keyword, representation):
    path = tmp_path / "a.dcm"
    tag = pydicom.datadict.tag_for_keyword(keyword)
    for text in ODD:
        for made in (raw(PICTURE), jpeg()):
            with pydicom.config.disable_value_validation():
                if tag in made:
                    del made[tag]
                try:
                    made.add_new(tag, representation, text)
                except (ValueError, OverflowError):
                    continue  # pydicom writes no such number
            path.write_bytes(file_bytes(made))
            gray, header = read_dicom(path)
            assert gray.shape == PICTURE.shape
            assert header.spacing > 0 or np.isnan(header.spacing)
            assert (header.sex in ("", "M", "F") and header.age != header.age) or header.age >= 0
            if keyword not in ("RescaleIntercept", "PixelPaddingValue", "RescaleSlope", "BitsStored"):
                expected = DECODED if made.file_meta.TransferSyntaxUID.is_compressed else PICTURE
                np.testing.assert_array_equal(gray, expected)


@pytest.mark.parametrize("text", ["0.2\\0.3", "0.2"])
def test_spacing(tmp_path, text):
    path = tmp_path / "a.dcm"
    made = raw(PICTURE, ImagerPixelSpacing=text)
    made.add_new(0x00280030, "DS", "")
    path.write_bytes(file_bytes(made))
    assert read_dicom(path)[1].spacing == 0.2


def test_a_private_element_and_colour_are_no_matter(tmp_path):
    made = raw(COLOUR)
    made.add_new(0x00090010, "LO", "SOMEBODY")
    made.add_new(0x00091001, "UN", b"\0\1\2")
    path = tmp_path / "a.dcm"
    path.write_bytes(file_bytes(made))
    assert read_dicom(path)[0].shape == COLOUR.shape[:2]
