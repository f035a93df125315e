"""Writes a training's losses and sample pictures for TensorBoard: `tensorboard --logdir runs`.

Event files follow metrics.jsonl and never decide anything: a run's weights and tables have the same bits without them.
"""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import cv2
import keras
import numpy as np

from pneumonia import schema
from pneumonia.boxes.drawing import PREDICTED_COLOUR, TRUE_COLOUR, draw_boxes
from pneumonia.data.person_features import model_input
from pneumonia.data.samples import Samples
from pneumonia.inference.predict import class_table, passes
from pneumonia.models.family import Family
from pneumonia.runs.event_file import EventFile

POSITIVE, NEGATIVE = 4, 2  # pictures of images with an opacity, and without
SIDE = 320  # pixels of a picture
SHOWN = 0.1  # lowest confidence of a box that is drawn
MOST = 5  # boxes drawn on a picture
FONT = (cv2.FONT_HERSHEY_SIMPLEX, 0.7, 2, cv2.LINE_AA)  # face, size, thickness, line


class Tracker:
    """The event file of a run, or nothing with `tracking: none`."""

    def __init__(self, experiment: schema.Experiment, folder: Path, history: list[dict], samples: Samples | None):
        """Open the file; epochs of `history` that it lacks are added.

        Args:
            history: lines of metrics.jsonl of the epochs done before.
            samples: images that are not trained on, of which pictures are drawn, or None.
        """
        self.experiment, self.file = experiment, None
        self.samples = samples_to_show(samples) if samples is not None and experiment.pictures else None
        if experiment.tracking == "none":
            return
        self.file = EventFile(folder, len(history))
        for line in history[self.file.step :]:
            self.file.scalars(line["epoch"], tags_of(line))

    def epoch(self, line: dict) -> None:
        """Add an epoch. line: of metrics.jsonl."""
        if self.file is not None:
            self.file.scalars(line["epoch"], tags_of(line))

    def lacks_pictures(self, epoch: int) -> bool:
        """Whether pictures of this epoch, counted from 1, are due and not in the file: every few epochs, and after the
        last one."""
        if self.file is None or self.samples is None or self.file.pictures >= len(self.samples):
            return False
        return epoch % self.experiment.pictures == 0 or epoch == self.experiment.epochs

    def draw_pictures(self, epoch: int, network: keras.Model, family: Family) -> None:
        """Add the pictures that the file lacks, predicted by the network as it is now, without test-time variants."""
        drawn = pictures_of(network, family, self.samples, self.experiment.batch_size)
        for name, picture in islice(drawn, self.file.pictures, None):
            _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
            self.file.picture(epoch, name, encoded.tobytes(), *picture.shape[:2])

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def tags_of(line: Mapping[str, float]) -> dict[str, float]:
    """Return TensorBoard's tags: metrics of the training and the inner images in two groups."""
    tags = {}
    for name, value in line.items():
        if name == "learning_rate":
            tags[name] = value
        elif name.startswith("inner_"):
            tags[f"inner/{name.removeprefix('inner_')}"] = value
        elif name != "epoch":
            tags[f"training/{name}"] = value
    return tags


def samples_to_show(samples: Samples) -> Samples | None:
    """Return the first images with an opacity and the first without; None for NIH's labels, which have no boxes."""
    if samples.classes.ndim == 2:
        return None
    positive = samples.positive
    rows = [*np.flatnonzero(positive)[:POSITIVE], *np.flatnonzero(~positive)[:NEGATIVE]]
    features = samples.person_features
    return Samples(
        samples.ids[rows],
        [samples.images[row] for row in rows],
        [samples.boxes[row] for row in rows],
        samples.classes[rows],
        None if features is None else features[rows],
    )


def pictures_of(network: keras.Model, family: Family, samples: Samples, batch_size: int):
    """Yield (tag, (SIDE, SIDE, 3) uint8 RGB) of each image: true boxes green, predictions orange."""
    inputs = model_input(np.stack(samples.images)[..., None], samples.person_features, family.person_inputs)
    decoded = [
        each for outputs in passes(network.predict_on_batch, inputs, batch_size) for each in family.decode(outputs)
    ]
    if family.kind == "localizer":
        predictions = [most_confident(*each) for each in decoded]
    else:
        predictions = [(np.empty((0, 4)), np.empty(0))] * len(samples)
        probabilities = class_table(samples.ids, np.stack(decoded)).opacity
    for row, (image, true, (boxes, scores)) in enumerate(zip(samples.images, samples.boxes, predictions)):
        picture, is_positive = draw_boxes(image, true, boxes, scores, SIDE), samples.positive[row]
        if family.kind == "classifier":
            colour = TRUE_COLOUR if is_positive else PREDICTED_COLOUR
            cv2.putText(picture, f"opacity {probabilities[row]:.2f}", (8, SIDE - 10), *FONT[:2], colour, *FONT[2:])
        yield f"{'opacity' if is_positive else 'no opacity'}/{samples.ids[row]}", picture


def most_confident(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes to draw, in descending confidence, and their confidences."""
    boxes, scores = np.reshape(boxes, (-1, 4)), np.asarray(scores)
    order = np.argsort(-scores, kind="stable")[:MOST]
    order = order[scores[order] >= SHOWN]
    return boxes[order], scores[order]
