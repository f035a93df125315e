"""The folder of the demo competition, and its size for each preset."""

from pathlib import Path

from pneumonia import config
from pneumonia.demo import competition as phantom

IMAGES = {  # preset: training images, test images
    "smoke": (60, 20),
    "quick": (700, 150),
    "full": (4000, 1000),
}


def demo_folder(preset: str) -> Path:
    """The demo competition of a preset, generated on first use."""
    preset = preset or "quick"
    train, test = IMAGES[preset]
    folder = config.REPOSITORY / "demo" / preset
    return phantom.generate(folder, train_images=train, test_images=test)
