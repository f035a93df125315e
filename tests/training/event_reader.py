"""What TensorBoard's own reader finds in the event files of a folder."""

from pathlib import Path

import cv2
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """{tag: (step, value) in the file's order}."""
    reader = EventAccumulator(str(folder), {"scalars": 0}, purge_orphaned_data=False)
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def pictures(folder: Path) -> dict[str, list[tuple[int, np.ndarray]]]:
    """{tag: (step, (height, width, 3) uint8 RGB) in the file's order}."""
    reader = EventAccumulator(str(folder), {"images": 0}, purge_orphaned_data=False)
    reader.Reload()
    found: dict = {}
    for tag in reader.Tags()["images"]:
        for event in reader.Images(tag):
            decoded = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
            assert decoded.shape[:2] == (event.height, event.width)
            found.setdefault(tag, []).append((event.step, decoded[..., ::-1]))
    return found
