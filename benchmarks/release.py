"""RSNA's release at full size, made up: how long `check`, `folds` and `eda` take, each in a process of its own.

    PYTHONPATH=src:tests/data .venv/bin/python benchmarks/release.py [images=30000] [pixels=true]

The JSON files are as large as the real ones: 30,000 images, 76,000 annotations, 47 MB, and 14 MB of names. With
pixels=true every image has a DICOM of 16 x 16 pixels: what reading 30,000 files costs beside their pixels. `eda` then
also makes its image cache, of 2 GB, which a second call would only open.

docs/results.md has what was measured.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from made_up_release import draw_images, export_of, write_pixels

from pneumonia import config
from pneumonia.schema import setting

SIDE = 16  # pixels of an image
COMMANDS = ("check", "folds", "eda")
PROGRAM = """
import sys
from pathlib import Path
from pneumonia import cli, config
config.REPOSITORY = Path(sys.argv[1])
sys.exit(cli.main(sys.argv[2:]))
"""


@dataclass
class Settings:
    images: int = setting(30_000, "images of the release, a tenth of them of the test set", low=100)
    pixels: bool = setting(False, "a DICOM of 16 x 16 pixels for each image")


def seconds_of(words: list[str], place: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processors of one command, with a repository of its own in `place`."""
    start, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, "-P", "-c", PROGRAM, str(place), *words], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - start, used


def main(settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        images = draw_images(settings.images, settings.images // 10, side=SIDE if settings.pixels else 1024)
        folder = export_of(images, place / "release")
        if settings.pixels:
            write_pixels([image for image in images if image.kind], folder, SIDE)
        os.sync()  # the commands would wait for the disk
        total = 0.0
        for command in COMMANDS:
            seconds, used = seconds_of([command, f"data={folder}", f"out={place / 'out' / command}"], place)
            total += seconds
            print(f"{command:6s} {seconds:6.1f} s, {used:6.1f} s of processor time", flush=True)
        print(f"{'all':6s} {total:6.1f} s")


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))
