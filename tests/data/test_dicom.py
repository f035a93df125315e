"""Real DICOM files, written here in many encodings: read correctly, or refused with one clear fault."""

import io
import json
import shutil
import unicodedata
import zlib

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
import simplejpeg
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000MC,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from pneumonia import cli
from pneumonia.data.ages import plausible_ages
from pneumonia.data.check_dicoms import dicom_faults
from pneumonia.data.dicom import read_dicom, read_scaled
from pneumonia.demo import competition as phantom
from pneumonia.system.errors import BadInput

NAME = "00000000-0000-0000-0000-000000000001"


def gradient(rows=96, columns=96) -> np.ndarray:
    """Smooth, so that JPEG hardly changes it: 0 at the upper left, 255 at the lower right."""
    y, x = np.mgrid[:rows, :columns]
    return np.rint(255 * (y + x) / (rows + columns - 2)).astype(np.uint8)


def dataset(pixels: np.ndarray, syntax=JPEGBaseline8Bit, **tags) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = syntax
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.PatientID, made.PatientAge, made.PatientSex, made.ViewPosition = NAME, "45", "F", "PA"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = pixels.dtype.itemsize * 8
    made.BitsStored, made.HighBit = made.BitsAllocated, made.BitsAllocated - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    if syntax == JPEGBaseline8Bit:
        made.PixelData = encapsulate(
            [simplejpeg.encode_jpeg(np.ascontiguousarray(pixels[..., None]), 95, "GRAY", "GRAY")]
        )
        made["PixelData"].is_undefined_length = True
    else:
        made.PixelData = pixels.tobytes()
    for tag, value in tags.items():
        setattr(made, tag, value)
    return made


def written(folder, made: FileDataset, name=NAME):
    path = folder / f"{name}.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


def fault(path, expected_id=None):
    with pytest.raises(BadInput) as caught:
        read_scaled(path, 32, expected_id)
    (only,) = caught.value.faults
    assert only.file == str(path) and only.what and only.fix
    return only


def difference(a, b) -> float:
    return np.abs(a.astype(float) - b.astype(float)).mean()


def test_the_competitions_format(tmp_path):
    path = written(tmp_path, dataset(gradient()))
    pixels, header = read_dicom(path, NAME)
    assert pixels.dtype == np.uint8 and difference(pixels, gradient()) < 1
    assert (header.sex, header.age, header.view, header.rows, header.columns) == ("F", 45, "PA", 96, 96)
    small, _ = read_scaled(path, 48)
    assert difference(small, cv2.resize(gradient(), (48, 48), interpolation=cv2.INTER_AREA)) < 1


@pytest.mark.parametrize("size", [24, 48, 64, 96, 200])
def test_scaled_decoding_is_full_decoding_and_area_resize(tmp_path, size):
    rng = np.random.default_rng(0)
    rough = cv2.GaussianBlur(rng.integers(0, 256, (192, 192)).astype(np.uint8), (0, 0), 2)
    path = written(tmp_path, dataset(rough))
    full, _ = read_dicom(path)
    way = cv2.INTER_AREA if size <= 192 else cv2.INTER_LINEAR
    scaled, _ = read_scaled(path, size)
    assert scaled.shape == (size, size)
    assert difference(scaled, cv2.resize(full, (size, size), interpolation=way)) <= 1


def test_monochrome1_is_inverted(tmp_path):
    path = written(tmp_path, dataset(gradient(), PhotometricInterpretation="MONOCHROME1"))
    assert difference(read_dicom(path)[0], 255 - gradient()) < 1


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_uncompressed(tmp_path, syntax):
    path = written(tmp_path, dataset(gradient(), syntax))
    assert np.array_equal(read_dicom(path)[0], gradient())


def test_12_bits_over_their_full_range(tmp_path):
    values = gradient().astype(np.uint16) * 16
    path = written(tmp_path, dataset(values, ExplicitVRLittleEndian, BitsStored=12, HighBit=11))
    assert difference(read_dicom(path)[0], gradient()) < 1


def test_16_bits_signed_with_rescale(tmp_path):
    values = gradient().astype(np.int16) * 100 - 9000
    path = written(tmp_path, dataset(values, ExplicitVRLittleEndian, RescaleSlope="0.5", RescaleIntercept="-7"))
    assert difference(read_dicom(path)[0], gradient()) < 1


def test_a_window_decides_what_is_black_and_white(tmp_path):
    values = gradient().astype(np.uint16) * 16  # 0 .. 4080
    window = {"BitsStored": 12, "HighBit": 11, "WindowCenter": "2048", "WindowWidth": "1024"}
    pixels, _ = read_dicom(written(tmp_path, dataset(values, ExplicitVRLittleEndian, **window)))
    assert (pixels[values < 1536] == 0).all() and (pixels[values > 2560] == 255).all()
    middle = (values > 1700) & (values < 2400)
    assert difference(pixels[middle], (values[middle] - 1536) / 1024 * 255) < 1.5


def test_colour_becomes_gray(tmp_path):
    colour = np.stack([gradient()] * 3, axis=-1)
    assert difference(read_dicom(written(tmp_path, dataset(colour, ExplicitVRLittleEndian)))[0], gradient()) < 1


@pytest.mark.parametrize("syntax", [RLELossless])
def test_lossless_compressions_with_a_reader(tmp_path, syntax):
    made = dataset(gradient(), ExplicitVRLittleEndian)
    made.compress(syntax)
    assert np.array_equal(read_dicom(written(tmp_path, made))[0], gradient())


def test_jpeg_2000_by_pillow(tmp_path):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(gradient()).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    made = dataset(gradient(), ExplicitVRLittleEndian)
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    made.PixelData = encapsulate([stream.getvalue()])
    made["PixelData"].is_undefined_length = True
    assert np.array_equal(read_dicom(written(tmp_path, made))[0], gradient())


def test_another_shape_is_squared_by_recorded_factors(tmp_path):
    pixels, header = read_scaled(written(tmp_path, dataset(gradient(64, 128))), 32)
    assert pixels.shape == (32, 32) and (header.rows, header.columns) == (64, 128)


@pytest.mark.parametrize(("age", "years"), [("045Y", 45), ("155", 155), ("018M", 1.5), ("", np.nan), ("old", np.nan)])
def test_ages(tmp_path, age, years):
    with pydicom.config.disable_value_validation():
        _, header = read_dicom(written(tmp_path, dataset(gradient(), PatientAge=age)))
    np.testing.assert_equal(header.age, years)
    np.testing.assert_equal(plausible_ages(pd.Series([header.age]))[0], years if years < 111 else np.nan)


def test_no_dicom_at_all(tmp_path):
    for content in (b"", b"hello", b"\0" * 4000, b"PK\x03\x04" * 100):
        path = tmp_path / "a.dcm"
        path.write_bytes(content)
        assert fault(path).code == "not-dicom"
    assert fault(tmp_path / "none.dcm").code == "unreadable"


@pytest.mark.parametrize("share", [0.3, 0.9, 0.97])
def test_truncated(tmp_path, share):
    path = written(tmp_path, dataset(gradient()))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert fault(path).code in ("truncated", "header", "no-pixels", "pixels")
    plain = written(tmp_path, dataset(gradient(), ExplicitVRLittleEndian))
    plain.write_bytes(plain.read_bytes()[:-500])
    assert fault(plain).code in ("truncated", "header")


def test_an_unreadable_compression_says_which_package_reads_it(tmp_path):
    found = fault(written(tmp_path, jpeg_2000_part_2(NAME)))
    assert found.code == "compression" and "glymur" in found.fix and "JPEG 2000 Part 2" in found.what


def test_an_unknown_transfer_syntax(tmp_path):
    path = written(tmp_path, dataset(gradient(), ExplicitVRLittleEndian))
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    path.write_bytes(content)
    assert fault(path).code == "transfer-syntax"


def test_a_deflated_bomb_is_refused_before_it_is_inflated(tmp_path):
    made = dataset(gradient(), ExplicitVRLittleEndian)
    made.file_meta.TransferSyntaxUID = UID(DeflatedExplicitVRLittleEndian)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    squeezer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = squeezer.compress(b"\0" * 200_000_000) + squeezer.flush()
    path = tmp_path / "bomb.dcm"
    path.write_bytes(stream.getvalue()[:400] + bomb)
    assert path.stat().st_size < 250_000
    assert fault(path).code == "deflated"


@pytest.mark.parametrize(("rows", "columns"), [(0, 96), (96, 0), (60000, 60000)])
def test_absurd_sizes_are_refused_before_decoding(tmp_path, rows, columns):
    assert fault(written(tmp_path, dataset(gradient(), Rows=rows, Columns=columns))).code == "size"


def test_a_jpeg_of_another_size_than_the_header_says(tmp_path):
    assert fault(written(tmp_path, dataset(gradient(), Rows=48, Columns=48))).code == "pixels"


def test_several_frames(tmp_path):
    assert fault(written(tmp_path, dataset(gradient(), NumberOfFrames="2"))).code == "multi-frame"


def test_the_file_of_another_patient(tmp_path):
    path = written(tmp_path, dataset(gradient(), PatientID="somebody else"))
    assert fault(path, NAME).code == "id"
    assert read_scaled(path, 32)[1].patient_id == "somebody else"


def test_every_fault_of_a_folder_is_found(tmp_path):
    good = written(tmp_path, dataset(gradient()), NAME)
    old = written(tmp_path, dataset(gradient(), PatientID="old", PatientAge="155"), "old")
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no")
    faults, warnings = dicom_faults({NAME: good, "old": old, "other": good, "bad": bad}, workers=1)
    assert [(each.code, each.file) for each in faults] == [("id", str(good)), ("not-dicom", str(bad))]
    assert [(each.code, each.file) for each in warnings] == [("age", str(old))]


def test_more_files_than_one_worker_takes(tmp_path):
    path = written(tmp_path, dataset(gradient()))
    faults, _ = dicom_faults({NAME: path} | {f"other-{k}": path for k in range(130)}, workers=2)
    assert len(faults) == 130


# ------------------------------------------------------------------ through the command


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return phantom.generate(tmp_path_factory.mktemp("sound") / "demo", train_images=3, test_images=2)


BAD_FILES = {
    "not-dicom": lambda name: b"no DICOM",
    "truncated": lambda name: file_of(dataset(gradient(), PatientID=name))[:-60],
    "deflated": lambda name: file_of(dataset(gradient(), PatientID=name)).replace(
        JPEGBaseline8Bit.encode(), DeflatedExplicitVRLittleEndian.encode() + b"\0"
    ),
    "transfer-syntax": lambda name: file_of(dataset(gradient(), ExplicitVRLittleEndian, PatientID=name)).replace(
        b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"
    ),
    "compression": lambda name: file_of(jpeg_2000_part_2(name)),
    "size": lambda name: file_of(dataset(gradient(), PatientID=name, Rows=60000)),
    "multi-frame": lambda name: file_of(dataset(gradient(), PatientID=name, NumberOfFrames="3")),
    "pixels": lambda name: file_of(dataset(gradient(), PatientID=name, Rows=48)),
    "id": lambda name: file_of(dataset(gradient(), PatientID="somebody else")),
}


def file_of(made: FileDataset) -> bytes:
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


def jpeg_2000_part_2(name: str) -> FileDataset:
    made = dataset(gradient(), ExplicitVRLittleEndian, PatientID=name)
    made.file_meta.TransferSyntaxUID = JPEG2000MC
    made.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 64])
    made["PixelData"].is_undefined_length = True
    return made


@pytest.mark.parametrize("code", BAD_FILES)
def test_check_names_the_bad_file_and_writes_nothing(sound, tmp_path, capsys, code):
    folder = tmp_path / "competition"
    shutil.copytree(sound, folder)
    bad = sorted((folder / "stage_2_train_images").iterdir())[1]
    bad.write_bytes(BAD_FILES[code](bad.stem))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert cli.main(["check", f"data={folder}", "json=true"]) == 2
    faults = json.loads(capsys.readouterr().out.splitlines()[-1])["faults"]
    assert [(fault["file"], fault["row"]) for fault in faults] == [(str(bad), None)]
    assert faults[0]["code"] == code and faults[0]["fix"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(("charset", "form"), [("ISO_IR 192", "NFC"), ("ISO_IR 192", "NFD"), ("ISO_IR 100", "NFC")])
def test_an_id_with_accents_is_its_file_s(tmp_path, charset, form):
    made = dataset(gradient(), SpecificCharacterSet=charset, PatientID="Müller 1")
    path = written(tmp_path, made, unicodedata.normalize(form, "Müller 1"))
    assert read_scaled(path, 32, path.stem)[1].patient_id == "Müller 1"
