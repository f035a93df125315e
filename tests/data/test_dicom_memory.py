"""What reading a large radiograph takes: every process that reads has as much."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_dicom_pixels import BITS12, file_bytes, sound_file

ROWS, COLUMNS = 3520, 4280
SCRIPT = """
import sys
from pneumonia.data.dicom import read_dicom
import imagecodecs
read_dicom(sys.argv[1])  # what is loaded once
open("/proc/self/clear_refs", "w").write("5")  # begin a new peak
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
gray, _ = read_dicom(sys.argv[2])
print((peak() - before) / gray.size)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize(
    ("encoding", "most"), [("explicit little", 6), ("JPEG lossless SV1", 6), ("JPEG-LS", 6), ("RLE", 7)]
)
def test_bytes_a_pixel(tmp_path, encoding, most):
    """16 bits, windowed; the file's own bytes are counted in."""
    y, x = np.mgrid[:ROWS, :COLUMNS].astype(np.float32)
    values = (2000 + 1500 * np.sin(x / 300) * np.cos(y / 200)).astype(np.uint16)
    window = {"WindowCenter": "2000", "WindowWidth": "3000"}
    small, large = tmp_path / "small.dcm", tmp_path / "large.dcm"
    small.write_bytes(file_bytes(sound_file(encoding, values[:64, :64], **BITS12, **window)))
    large.write_bytes(file_bytes(sound_file(encoding, values, **BITS12, **window)))
    words = [sys.executable, "-c", SCRIPT, str(small), str(large)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    environment.pop("LD_PRELOAD", None)  # another allocator keeps more
    taken = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout
    assert float(taken) <= most
