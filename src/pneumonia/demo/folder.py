"""Where the synthetic competition lies, and how large each preset makes it."""

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
    train, test = IMAGES[preset or "quick"]
    folder = config.REPOSITORY / "demo" / f"{preset or 'quick'}"
    return phantom.generate(folder, train_images=train, test_images=test)
