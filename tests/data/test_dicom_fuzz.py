"""Damaged files: a clear fault or an image of the right shape; never anything else."""

import io

import numpy as np
import pydicom
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage

from pneumonia.data.dicom import read_dicom
from pneumonia.system.errors import BadInput

SIDE = 64
PIXELS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def file_bytes(compressed: bool) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    meta.TransferSyntaxUID = JPEGBaseline8Bit if compressed else ExplicitVRLittleEndian
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.PatientID, made.PatientAge, made.PatientSex = "somebody", "50", "M"
    made.Rows = made.Columns = SIDE
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    frame = encapsulate([simplejpeg.encode_jpeg(PIXELS[..., None], 90, "GRAY", "GRAY")])
    made.PixelData = frame if compressed else PIXELS.tobytes()
    made["PixelData"].is_undefined_length = compressed
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


CONTENTS = {compressed: file_bytes(compressed) for compressed in (True, False)}


def read(path, content: bytes):
    """The image, or None where the file was refused with a fault that names it."""
    path.write_bytes(content)
    try:
        pixels, header = read_dicom(path)
    except BadInput as error:
        assert len(error.faults) == 1 and error.faults[0].file == str(path) and "\n" not in str(error)
        return None
    assert pixels.dtype == np.uint8 and pixels.shape == (header.rows, header.columns)
    return pixels


@pytest.mark.parametrize("compressed", [True, False])
def test_truncated_anywhere_it_is_refused_or_right(tmp_path, compressed):
    whole = read(tmp_path / "whole.dcm", CONTENTS[compressed])

    @QUIET
    @given(st.integers(0, len(CONTENTS[compressed]) - 1))
    def truncated(length):
        pixels = read(tmp_path / "a.dcm", CONTENTS[compressed][:length])
        assert pixels is None or np.array_equal(pixels, whole)

    truncated()


@pytest.mark.parametrize("compressed", [True, False])
def test_flipped_bits_give_an_image_or_a_fault(tmp_path, compressed):
    content = CONTENTS[compressed]

    @QUIET
    @given(st.lists(st.tuples(st.integers(132, len(content) - 1), st.integers(1, 255)), min_size=1, max_size=6))
    def flipped(places):
        damaged = bytearray(content)
        for place, bits in places:
            damaged[place] ^= bits
        read(tmp_path / "a.dcm", bytes(damaged))

    flipped()


@QUIET
@given(noise=st.binary(max_size=2000))
def test_noise_after_the_magic_word(tmp_path_factory, noise):
    read(tmp_path_factory.getbasetemp() / "noise.dcm", b"\0" * 128 + b"DICM" + noise)
