"""Read damaged DICOMs of all supported encodings: each must give an image of the header's size, or one fault.

    PYTHONPATH=src .venv/bin/python benchmarks/dicom_fuzz.py [files=10000] [workers=2] [seed=0]

Every file starts as a valid one of some encoding and kind of pixels and is damaged in one of five ways: bytes changed
(anywhere, in the header, or in the first bytes of the frame), the end cut off, a piece removed or doubled, an element
of the header replaced, or the frame replaced by that of another encoding. Separate processes read them, so that a
decoder's crash is counted and does not end the benchmark; more than 20 seconds with one file count as a hang. It prints
the outcomes by encoding, and the largest memory.
"""

import io
import json
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import simplejpeg
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

SYNTAX = "1.2.840.10008.1.2"
LONGEST = 20  # seconds
SIDE = 64


def baseline(values: np.ndarray) -> bytes:
    if values.ndim == 3:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(values), 90, "RGB", "444")
    return simplejpeg.encode_jpeg(np.ascontiguousarray(values[..., None]), 90, "GRAY", "GRAY")


# name: syntax's last part, kinds of pixels, encoder of a frame (None: uncompressed)
ALL = ("gray8", "gray12", "gray16", "signed16", "rgb8")
ENCODINGS: dict[str, tuple[str, tuple[str, ...], Callable[[np.ndarray], bytes] | None]] = {
    "implicit little": ("", ALL, None),
    "explicit little": (".1", (*ALL, "float", "rgb16"), None),
    "explicit big": (".2", ALL, None),
    "JPEG Baseline": (".4.50", ("gray8", "rgb8"), baseline),
    "JPEG 12 bits": (".4.51", ("gray12",), lambda v: imagecodecs.jpeg8_encode(v, level=95, bitspersample=12)),
    "JPEG lossless": (".4.57", ALL, lambda v: lossless_jpeg(v, 4)),
    "JPEG lossless SV1": (".4.70", ALL, lambda v: lossless_jpeg(v, 1)),
    "JPEG-LS": (".4.80", ALL, lambda v: imagecodecs.jpegls_encode(unsigned(v))),
    "JPEG-LS near": (".4.81", ("gray8", "gray12"), lambda v: imagecodecs.jpegls_encode(v, level=2)),
    "JPEG 2000": (".4.90", ALL, lambda v: jpeg_2000(v, reversible=True)),
    "JPEG 2000 lossy": (".4.91", ("gray8", "gray12"), lambda v: jpeg_2000(v, level=70)),
    "HTJ2K": (".4.201", ("gray8", "gray12", "gray16"), lambda v: imagecodecs.htj2k_encode(v, reversible=True)),
    "HTJ2K lossy": (".4.203", ("gray8",), lambda v: imagecodecs.htj2k_encode(v, level=0.01)),
    "RLE": (".5", ALL, None),
}


def unsigned(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(f"u{values.itemsize}")


def lossless_jpeg(values: np.ndarray, predictor: int) -> bytes:
    bits = 8 * values.itemsize
    return imagecodecs.jpeg8_encode(unsigned(values), lossless=True, predictor=predictor, bitspersample=bits)


def jpeg_2000(values: np.ndarray, **options: object) -> bytes:
    return imagecodecs.jpeg2k_encode(np.ascontiguousarray(values), codecformat="j2k", **options)


def pixels_of(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Make a smooth image with some noise."""
    rows, columns = rng.integers(SIDE // 2, SIDE, 2)
    y, x = np.mgrid[:rows, :columns]
    shade = 0.5 + 0.4 * np.sin(x / rng.uniform(5, 20)) * np.cos(y / rng.uniform(5, 20)) + rng.normal(0, 0.01, y.shape)
    if kind.startswith("rgb"):
        shade = np.stack([shade, shade**2, 1 - shade], axis=-1)
    shade = shade.clip(0, 1)
    if kind == "float":
        return (shade * 3).astype(np.float32)
    if kind == "signed16":
        return (shade * 4000 - 2000).astype(np.int16)
    bits = int(kind.removeprefix("gray").removeprefix("rgb"))
    return (shade * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def sound_file(encoding: str, pixels: np.ndarray, **elements: object) -> FileDataset:
    """Make a valid DICOM of these pixels: (rows, columns) or (rows, columns, 3), uint8, uint16, int16 or float32."""
    suffix, _, encode = ENCODINGS[encoding]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    meta.TransferSyntaxUID = SYNTAX + suffix
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.PatientID, made.PatientAge, made.PatientSex, made.Modality = "somebody", "050Y", "M", "DX"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
        if encoding == "JPEG Baseline":
            made.PhotometricInterpretation = "YBR_FULL"
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored = int(elements.pop("BitsStored", 8 * pixels.itemsize))
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(pixels.dtype.kind == "i")
    if pixels.dtype.kind == "f":
        made.FloatPixelData = pixels.tobytes()
    elif encode is None:
        order = ">" if encoding == "explicit big" else "<"
        made.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        made["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
    else:
        made.PixelData = encapsulate([encode(pixels)])
        made["PixelData"].is_undefined_length = True
        made["PixelData"].VR = "OB"
    if encoding == "RLE":
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.compress(RLELossless, generate_instance_uid=False)
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def file_bytes(made: FileDataset) -> bytes:
    stream = io.BytesIO()
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


# ------------------------------------------------------------------ damage

WHOLE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
         "PlanarConfiguration", "PixelPaddingValue")  # fmt: skip
TEXTS = ("NumberOfFrames", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "VOILUTFunction",
         "PhotometricInterpretation", "PresentationLUTShape", "PatientAge", "PixelSpacing")  # fmt: skip
NUMBERS = (0, 1, 2, 3, 7, 8, 9, 12, 16, 32, 64, 255, 8192, 32767)
ODD = ("", "0", "-1", "1e9", "nan", "x", "1\\2", "SIGMOID", "PALETTE COLOR", "YBR_FULL_422", "MONOCHROME1", "INVERSE")


def damaged(seed: int) -> tuple[str, bytes]:
    """Return the encoding and the bytes of the damaged file of a seed."""
    rng = np.random.default_rng(seed)
    encoding = list(ENCODINGS)[seed % len(ENCODINGS)]
    kind = str(rng.choice(ENCODINGS[encoding][1]))
    made = sound_file(encoding, pixels_of(kind, rng), **({"BitsStored": 12} if kind == "gray12" else {}))
    way = rng.integers(5)
    if way == 0:
        if rng.random() < 0.5:
            made.add_new(pydicom.datadict.tag_for_keyword(str(rng.choice(WHOLE))), "US", int(rng.choice(NUMBERS)))
        else:
            with pydicom.config.disable_value_validation():
                name = str(rng.choice(TEXTS))
                made.add_new(pydicom.datadict.tag_for_keyword(name), "LO", str(rng.choice(ODD)))
        return encoding, file_bytes(made)
    if way == 1 and "PixelData" in made and made["PixelData"].is_undefined_length:
        other = str(rng.choice([name for name, parts in ENCODINGS.items() if parts[2] or name == "RLE"]))
        kind = str(rng.choice(ENCODINGS[other][1]))
        made.PixelData = sound_file(other, pixels_of(kind, rng)).PixelData
        return encoding, file_bytes(made)
    content = bytearray(file_bytes(made))
    pixels = max(content.rfind(b"\xe0\x7f"), content.rfind(b"\x7f\xe0"), 200)
    start, stop = ((132, len(content)), (132, pixels), (pixels, min(len(content), pixels + 200)))[rng.integers(3)]
    if way == 2:
        return encoding, bytes(content[: rng.integers(0, len(content))])
    if way == 3:
        place, length = rng.integers(start, stop), rng.integers(1, 40)
        piece = content[place : place + length]
        content[place : place + length] = piece * 2 if rng.random() < 0.5 else b""
        return encoding, bytes(content)
    for place in rng.integers(start, stop, rng.integers(1, 8)):
        content[place] = rng.integers(256) if rng.random() < 0.7 else (0, 255)[rng.integers(2)]
    return encoding, bytes(content)


# ------------------------------------------------------------------ reading


def worker(first: int, last: int) -> None:
    """Read the files of these seeds; print a line of JSON before and after each, the second with its outcome."""
    from pneumonia.data.dicom import read_dicom
    from pneumonia.system.errors import BadInput

    baseline_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        for seed in range(first, last):
            encoding, content = damaged(seed)
            path.write_bytes(content)
            print(json.dumps([seed, encoding, "begun", 0]), flush=True)
            signal.alarm(LONGEST)
            try:
                gray, header = read_dicom(path)
                is_valid = gray.shape == (header.rows, header.columns) and gray.dtype == np.uint8
                outcome = "read" if is_valid else "wrong shape"
            except BadInput as error:
                outcome = "refused" if len(error.faults) == 1 and "\n" not in str(error) else "traceback"
            except Exception as error:
                outcome = "traceback"
                print(f"{seed}: {error!r}", file=sys.stderr)
            signal.alarm(0)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline_memory
            print(json.dumps([seed, encoding, outcome, memory]), flush=True)


def outcomes(first: int, last: int) -> list[tuple[int, str, str, int]]:
    """Return (seed, encoding, outcome, KiB more than before the first file) of each file; after a crash a new process
    continues."""
    results = []
    while first < last:
        command = [sys.executable, __file__, "worker", str(first), str(last)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("]")]
        results += [tuple(line) for line in lines if line[2] != "begun"]
        if done.returncode == 0:
            break
        if done.returncode > 0:  # a Python error, not a decoder's crash
            raise SystemExit(f"the process for {first} to {last} ended with {done.returncode}")
        seed, encoding, *_ = lines[-1] if lines else (first, "?")
        outcome = "hang" if done.returncode == -signal.SIGALRM else "crash"
        print(f"{seed} ({encoding}): ended with {done.returncode}", file=sys.stderr)
        results.append((seed, encoding, outcome, 0))
        first = seed + 1
    return results


def main(files: int = 10_000, workers: int = 2, seed: int = 0) -> None:
    step = 250  # files of a process: a leak would show as memory
    starts = range(seed, seed + files, step)
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda start: outcomes(start, min(start + step, seed + files)), starts)
        results = [result for part in parts for result in part]
    columns = ("read", "refused", "wrong shape", "traceback", "crash", "hang")
    print(f"{'encoding':20s}" + "".join(f"{name:>13s}" for name in columns))
    table = Counter((encoding, outcome) for _, encoding, outcome, _ in results)
    for encoding in ENCODINGS:
        print(f"{encoding:20s}" + "".join(f"{table[encoding, name]:13d}" for name in columns))
    totals = Counter(outcome for _, _, outcome, _ in results)
    print(f"{'all':20s}" + "".join(f"{totals[name]:13d}" for name in columns))
    print(f"{len(results)} files; largest additional memory: {max(memory for *_, memory in results) / 1024:.0f} MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(**{key: int(value) for key, value in (arg.split("=") for arg in sys.argv[1:])})
