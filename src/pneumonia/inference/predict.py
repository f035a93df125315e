"""Predict with a trained network and test-time augmentation; boxes are in pixels of the original images."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.boxes.same_model import merge_same_model, weighted_mean
from pneumonia.data.labels import HEADS
from pneumonia.data.person_features import model_input
from pneumonia.data.samples import Images
from pneumonia.decoding.decoder import Decoder
from pneumonia.inference.engines import Engine
from pneumonia.inference.tta import variants
from pneumonia.system.progress import progress


def predict(
    engine: Engine,
    decoder: Decoder,
    images: Images,
    experiment: schema.Experiment,
    title: str,
) -> Detections | ClassProbabilities:
    """Return the first table of `predict_tables`."""
    return predict_tables(engine, decoder, images, experiment, title)[0]


def predict_tables(
    engine: Engine,
    decoder: Decoder,
    images: Images,
    experiment: schema.Experiment,
    title: str,
) -> tuple[Detections | ClassProbabilities, ClassProbabilities | None]:
    """Predict every variant of every image, and merge the variants.

    Args:
        engine: runs the network: Keras's predict_on_batch, or an exported network (inference/engines.py).
        images: boxes are returned in the pixels of their original sizes.
        experiment: its settings tta (variants, inference/tta.py), batch_size (pictures per pass of the network; each
            variant is one picture), max_boxes (of an image, the most confident) and min_score (of a box, for each
            variant and for the merged table) are used.
        title: of the progress bar.

    Returns:
        Detections (a localizer) or ClassProbabilities (a classifier), in the order of the images; and the
        ClassProbabilities of a localizer with an output for the whole image, else None.

    Raises:
        BadInput: an unknown variant.
    """
    tta, batch_size, features = variants(experiment.tta), experiment.batch_size, images.person_features
    starts = range(0, len(images), batch_size)
    tables: list[list] = [[] for _ in tta]
    image_classes: list[np.ndarray] = []  # per batch of images, the mean of the variants
    for start in progress(starts, title, unit="batch"):
        batch = np.stack([images.pixels[row] for row in range(start, min(start + batch_size, len(images)))])[..., None]
        pictures = np.concatenate([variant.picture(batch) for variant in tta])
        people = None if features is None else np.tile(features[start : start + batch_size], (len(tta), 1))
        inputs = model_input(pictures, people, decoder.person_inputs)
        decoded, classes = [], []
        for outputs in passes(engine, inputs, batch_size):
            decoded += [*decoder.decode(outputs)]
            classes.append(decoder.decode_classes(outputs))
        if classes[0] is not None:
            of_variants = np.concatenate(classes).reshape(len(tta), len(batch), -1)
            image_classes.append(weighted_mean(of_variants))
        for k, (table, variant) in enumerate(zip(tables, tta)):
            part = decoded[k * len(batch) : (k + 1) * len(batch)]
            if decoder.kind == "localizer":
                part = [(variant.boxes_back(boxes, decoder.image_size), scores) for boxes, scores in part]
            table.extend(part)
    if decoder.kind == "classifier":
        return class_table(images.ids, weighted_mean([np.stack(table) for table in tables])), None
    of_images = class_table(images.ids, np.concatenate(image_classes)) if image_classes else None
    limits = (experiment.max_boxes, experiment.min_score)
    variant_tables = [detection_table(images, table, decoder.image_size, *limits) for table in tables]
    if len(variant_tables) == 1:
        return variant_tables[0], of_images
    return keep_most_confident(merge_same_model(variant_tables), *limits), of_images


def passes(engine: Engine, inputs, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the outputs of (n, size, size, 1) pictures, or of a dict of arrays, pass by pass, as numpy: n rows in all.

    A pass always has batch_size rows, the last one padded with zeros (black): one shape compiles once, and a picture's
    output does not depend on the number of pictures.
    """
    named = inputs if isinstance(inputs, dict) else {"gray": inputs}
    rows = len(named["gray"])
    for start in range(0, rows, batch_size):
        count = min(batch_size, rows - start)

        def one_pass(array: np.ndarray, start: int = start, missing: int = batch_size - count) -> np.ndarray:
            part = array[start : start + batch_size]
            return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) if missing else part

        parts = {name: one_pass(array) for name, array in named.items()}
        outputs = engine(parts if isinstance(inputs, dict) else parts["gray"])
        yield {name: np.asarray(value)[:count] for name, value in outputs.items()}


def class_table(ids: Sequence[str], probabilities: np.ndarray) -> ClassProbabilities:
    """Build the table of a classifier.

    Args:
        probabilities: (n, labels) of a head of data/labels.py: opacity alone, the three classes, or NIH's 14, whose
            positive label is used as opacity.
    """
    probabilities = probabilities.astype(np.float64)
    labels = next(head for head in HEADS.values() if len(head) == probabilities.shape[1])
    if labels.exclusive:
        return ClassProbabilities(tuple(ids), **dict(zip(labels.names, probabilities.T)))
    return ClassProbabilities(tuple(ids), opacity=probabilities[:, labels.positive_index])


def detection_table(images: Images, decoded: Iterable, model_size: int, max_boxes: int, min_score: float) -> Detections:
    """Scale boxes from the model's square to original pixels and clip them to the image; drop boxes outside it."""
    boxes_list, scores_list = [], []
    for (boxes, scores), (rows, columns) in zip(decoded, images.sizes):
        boxes = geometry.scale(np.reshape(boxes, (-1, 4)), columns / model_size, rows / model_size)
        boxes = geometry.clip(boxes, columns, rows)
        is_inside = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
        boxes_list.append(boxes[is_inside])
        scores_list.append(np.asarray(scores, dtype=np.float64)[is_inside])
    return keep_most_confident(Detections.from_lists(images.ids, boxes_list, scores_list), max_boxes, min_score)


def keep_most_confident(detections: Detections, max_boxes: int, min_score: float) -> Detections:
    """Keep at most max_boxes boxes of every image, in descending confidence, none below min_score."""
    ordered = detections.keep(detections.scores >= min_score).by_confidence()
    rank = np.arange(len(ordered.scores)) - np.repeat(ordered.offsets[:-1], ordered.counts)
    return ordered.keep(rank < max_boxes)
