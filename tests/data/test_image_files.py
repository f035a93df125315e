"""PNG and JPEG files: the pixels that a DICOM of the same would have, or one line that says what is wrong."""

import io
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
import simplejpeg
from PIL import Image, ImageOps
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from pneumonia.data.image_files import read_header, read_image, read_scaled, size_of
from pneumonia.data.image_kinds import kind_of
from pneumonia.system.errors import BadInput

ROWS, COLUMNS = 200, 160
SIZES = (32, 100, 256)


def smooth(rows=ROWS, columns=COLUMNS, highest=255):
    """(rows, columns) of a slope with some noise, from 0 to `highest`."""
    values = np.add.outer(np.arange(rows), np.arange(columns)) + np.random.default_rng(0).uniform(
        0, 40, (rows, columns)
    )
    return np.rint((values - values.min()) * (highest / np.ptp(values))).astype(
        np.uint16 if highest > 255 else np.uint8
    )


def written(path, content: bytes):
    path.write_bytes(content)
    return path


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def dicom(path, rows: int, columns: int, bits: int, content: bytes, syntax=ExplicitVRLittleEndian, samples: int = 1):
    """A DICOM without a window around pixels that are encoded already."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3", path.stem
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PixelRepresentation = rows, columns, samples, 0
    dataset.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (16 if bits > 8 else 8), bits, bits - 1
    dataset.PixelData = encapsulate([content]) if syntax.is_compressed else content
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def same_as_dicom(file, reference) -> None:
    np.testing.assert_array_equal(read_image(file)[0], read_image(reference)[0])
    for size in SIZES:
        np.testing.assert_array_equal(read_scaled(file, size)[0], read_scaled(reference, size)[0])
    assert size_of(file) == size_of(reference) == (ROWS, COLUMNS)


@pytest.mark.parametrize("highest", [255, 4095, 65535])
def test_a_png_has_the_bits_of_the_dicom_of_the_same_pixels(tmp_path, highest):
    pixels = smooth(highest=highest) + (7 if highest == 4095 else 0)
    reference = dicom(tmp_path / "a.dcm", *pixels.shape, 8 if highest == 255 else 16, pixels.tobytes())
    same_as_dicom(written(tmp_path / "b", png(pixels)), reference)


@pytest.mark.parametrize("colour", ["GRAY", "RGB"])
def test_a_jpeg_has_the_bits_of_the_dicom_of_the_same_frame(tmp_path, colour):
    pixels = smooth()
    array = pixels[..., None] if colour == "GRAY" else np.stack([pixels, pixels[::-1], pixels], axis=-1)
    frame = simplejpeg.encode_jpeg(np.ascontiguousarray(array), 90, colour)
    reference = dicom(tmp_path / "a.dcm", ROWS, COLUMNS, 8, frame, JPEGBaseline8Bit)
    if colour == "RGB":
        dataset = pydicom.dcmread(reference)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL_422"
        dataset.save_as(reference)
    same_as_dicom(written(tmp_path / "b.jpg", frame), reference)
    same_as_dicom(written(tmp_path / "c.jpg", frame + b"trailer \xff\xd8 of some camera"), reference)


def test_gray_is_the_same_in_every_png_mode(tmp_path):
    pixels = smooth()
    image = Image.fromarray(pixels)
    transparent = Image.merge("LA", (image, Image.fromarray(255 - pixels)))
    contents = {
        "gray": saved(image, "PNG"),
        "alpha": saved(transparent, "PNG"),
        "colour": saved(image.convert("RGB"), "PNG"),
        "colour and alpha": saved(transparent.convert("RGBA"), "PNG"),
        "one colour transparent": saved(image, "PNG", transparency=7),
        "palette": saved(image.convert("P"), "PNG"),
    }
    for name, content in contents.items():
        np.testing.assert_array_equal(read_image(written(tmp_path / "a.png", content))[0], pixels, err_msg=name)
    bits = (pixels > 128).astype(np.uint8) * 255
    content = saved(Image.fromarray(bits).convert("1"), "PNG")
    np.testing.assert_array_equal(read_image(written(tmp_path / "a.png", content))[0], bits)


def test_sixteen_bits_of_gray_span_the_values_found(tmp_path):
    pixels = smooth(highest=3000) + 500
    gray, _ = read_image(written(tmp_path / "a.png", png(pixels)))
    assert gray.min() == 0 and gray.max() == 255
    np.testing.assert_allclose(gray, (pixels - 500.0) * 255 / 3000, atol=0.5001)
    flat, _ = read_image(written(tmp_path / "c.png", png(np.full((5, 6), 40_000, np.uint16))))
    assert flat.shape == (5, 6) and not flat.any()


def test_colour_has_the_bits_of_the_dicom_of_the_same_pixels(tmp_path):
    for highest in (255, 65535):
        pixels = np.stack([smooth(highest=highest), smooth(highest=highest)[::-1], smooth(highest=highest)], axis=-1)
        reference = dicom(tmp_path / "a.dcm", ROWS, COLUMNS, 8 * pixels.itemsize, pixels.tobytes(), samples=3)
        same_as_dicom(written(tmp_path / "b.png", png(pixels[..., ::-1])), reference)


@pytest.mark.parametrize(
    ("highest", "options"), [(4095, {"bitspersample": 12}), (60_000, {"lossless": True, "bitspersample": 16})]
)
def test_a_jpeg_of_more_than_8_bits(tmp_path, highest, options):
    pixels = smooth(highest=highest)
    gray, _ = read_image(written(tmp_path / "a.jpg", imagecodecs.jpeg8_encode(pixels, 98, **options)))
    np.testing.assert_allclose(gray, pixels * (255.0 / highest), atol=0.51 if "lossless" in options else 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_honoured(tmp_path, kind, orientation):
    image = Image.fromarray(smooth())
    exif = image.getexif()
    exif[0x0112] = orientation
    content = saved(image, kind, exif=exif)
    with Image.open(io.BytesIO(content)) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    pixels, header = read_image(written(tmp_path / "a", content))
    assert pixels.shape == expected.shape == (header.rows, header.columns) == size_of(tmp_path / "a")
    assert np.abs(pixels.astype(int) - expected).max() <= (0 if kind == "PNG" else 2)
    assert read_scaled(tmp_path / "a", 64)[0].shape == (64, 64)


def test_what_a_picture_says_of_itself(tmp_path):
    header = read_header(written(tmp_path / "a.png", png(smooth())), "whoever is expected")
    assert (header.rows, header.columns, header.sex, header.view, header.modality) == (ROWS, COLUMNS, "", "", "")
    assert np.isnan(header.age) and np.isnan(header.spacing) and len(header.sha256) == 64
    assert header.sha256 == read_image(tmp_path / "a.png")[1].sha256


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bare_png(rows: int, columns: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


PNG, JPEG = png(smooth()), simplejpeg.encode_jpeg(smooth()[..., None], 90, "GRAY")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("half.png", PNG[: len(PNG) // 2], "pixels"),
        ("end.png", PNG[:-12], "pixels"),
        ("bit.png", PNG[:1000] + bytes([PNG[1000] ^ 1]) + PNG[1001:], "pixels"),
        ("start.png", PNG[:20], "pixels"),
        ("short.png", bare_png(50, 50, bytes(51 * 20)), "pixels"),
        ("huge.png", bare_png(1, 8193, bytes(8194)), "size"),
        ("bomb.png", bare_png(60_000, 60_000, b""), "size"),
        ("half.jpg", JPEG[: len(JPEG) // 2], "truncated"),
        ("middle.jpg", JPEG[: len(JPEG) // 2] + b"\xff\xd9", "pixels"),
        ("end.jpg", JPEG[:-1], "truncated"),
        ("start.jpg", JPEG[:15], "pixels"),
        ("hole.jpg", JPEG[:700] + JPEG[2700:], "pixels"),
        ("cmyk.jpg", saved(Image.new("CMYK", (20, 20)), "JPEG"), "colour"),
        ("text.png", b"<html>not found</html>", "unknown-kind"),
        ("text.dcm", b"<html>not found</html>", "not-dicom"),
        ("empty.png", b"", "unknown-kind"),
    ],
)
def test_damaged_files_are_refused_by_one_line(tmp_path, name, content, code):
    path = written(tmp_path / name, content)
    for read in (read_image, lambda file: read_scaled(file, 32)):
        with pytest.raises(BadInput) as caught:
            read(path)
        assert [(fault.code, fault.file) for fault in caught.value.faults] == [(code, str(path))]
        assert "\n" not in str(caught.value)


def test_kinds_are_told_by_content(tmp_path):
    dicom(tmp_path / "x.dcm", 4, 4, 8, bytes(16))
    whole = (tmp_path / "x.dcm").read_bytes()
    contents = {"DICOM": whole, "PNG": PNG, "JPEG": JPEG, None: b"II*\0 a TIFF" + bytes(200)}
    for kind, content in contents.items():
        assert kind_of(written(tmp_path / "a", content)) == kind
    assert (
        kind_of(written(tmp_path / "a", whole[132:])) == "DICOM"
    )  # without its preamble: refused by name, not overlooked
    for text in (b"", b"x", b"\x08\0", b"patientId,x,y\n" * 20, bytes(200)):
        assert kind_of(written(tmp_path / "a", text)) is None
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_image(tmp_path / "nowhere.png")
