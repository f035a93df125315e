"""Time of ingest at 512 pixels, of decoding alone and of the usual way, on one core and on two.

    PYTHONPATH=src .venv/bin/python benchmarks/ingest.py [competition folder]

Without an argument: the folder in $RSNA_MINI, else a generated demo. All ways are timed in turns over the same images,
and the medians of the turns are compared, so that other work on the machine slows all ways alike.

decode: simplejpeg (libjpeg-turbo) decodes the frames, already in memory, to gray.
usual: pydicom's pixel_array through pillow, cv2.resize by area, one PNG per image.
usual, gdcm: the same through gdcm, if it is installed.
ingest: everything from opening the files to the cache on disk, with checksums. The start of two processes is
subtracted, by the time of a small part of the images: for the whole competition it is negligible.

Measured on 342 real radiographs of the competition, on an idle 2-core AMD EPYC: decode 1.21 ms an image, ingest 1.78,
usual 6.54; ingest takes 1.48 x decoding, the usual way 3.67 x ingest; two processes are 2.06 x as fast as one. With
both cores busy with other work: 1.56 x, 3.40 x, and 0.97 to 1.41 x. gdcm was not installed.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pydicom
import simplejpeg
from pydicom.encaps import get_frame

from pneumonia.data.competition import open_competition
from pneumonia.data.ingest import ingest
from pneumonia.demo.competition import generate

SIZE, TURNS, DEMO_IMAGES = 512, 5, 120
PART = 32  # images: one block for each of two processes


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decode(frames: list[bytes]) -> None:
    for frame in frames:
        simplejpeg.decode_jpeg(frame, "GRAY")


def usual(paths: list[Path], folder: Path, plugin: str) -> None:
    folder.mkdir()
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.pixel_array_options(decoding_plugin=plugin)
        square = cv2.resize(dataset.pixel_array, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{path.stem}.png"), square)


def has_gdcm() -> bool:
    try:
        import gdcm  # noqa: F401
    except ImportError:
        return False
    return True


def main(folder: str) -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        root = Path(folder) if folder else generate(place / "demo", DEMO_IMAGES - 10, 10)
        competition = open_competition(root)
        paths = [*competition.train_images.values(), *competition.test_images.values()]
        part = replace(competition, train_images=dict(list(competition.train_images.items())[:PART]), test_images={})
        frames = [get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1) for path in paths]
        ways: dict[str, Callable[[], object]] = {
            "decode": lambda: decode(frames),
            "ingest, 1 process": lambda: ingest(competition, SIZE, 1, place / "one"),
            "ingest, 2 processes": lambda: ingest(competition, SIZE, 2, place / "two"),
            "a part, 2 processes": lambda: ingest(part, SIZE, 2, place / "two"),
            "usual": lambda: usual(paths, place / "png", "pillow"),
        }
        if has_gdcm():
            ways["usual, gdcm"] = lambda: usual(paths, place / "png", "gdcm")
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, work in ways.items():
                seconds[name].append(seconds_of(work))
                for output in ("one", "two", "png"):
                    shutil.rmtree(place / output, ignore_errors=True)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{len(paths)} images, {SIZE} px, medians of {TURNS} turns")
    for name, value in median.items():
        if not name.startswith("a part"):
            print(f"  {name:20s} {1e3 * value / len(paths):7.2f} ms an image")
    one, two = median["ingest, 1 process"], median["ingest, 2 processes"] - median["a part, 2 processes"]
    one_of_both = one * (len(paths) - PART) / len(paths)
    print(f"ingest on one core takes {one / median['decode']:.2f} x decoding alone (aim: at most 1.5)")
    print(f"the usual way takes {median['usual'] / one:.2f} x ingest on one core (aim: at least 3.5)")
    if "usual, gdcm" in median:
        print(f"the usual way through gdcm takes {median['usual, gdcm'] / one:.2f} x ingest on one core")
    print(f"two processes are {one_of_both / two:.2f} x as fast as one, without their start (aim: near 2 if idle)")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("RSNA_MINI", ""))
