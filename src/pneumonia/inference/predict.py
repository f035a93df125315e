"""A trained network's predictions with test-time augmentation, as prediction tables in original pixels."""

from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.boxes.fusion import merge_same_model
from pneumonia.boxes.predictions import ClassProbabilities, Detections
from pneumonia.data.labels import HEADS
from pneumonia.data.person_features import model_input
from pneumonia.data.samples import Images
from pneumonia.inference.tta import variants
from pneumonia.models.family import Family
from pneumonia.system.progress import progress


def predict(
    network: keras.Model,
    family: Family,
    images: Images,
    experiment: schema.Experiment,
    title: str,
) -> Detections | ClassProbabilities:
    """Predict every image under every variant, and merge the variants.

    Args:
        images: the boxes are returned in the pixels of their original sizes.
        experiment: of its settings, tta: names of inference/tta.py; batch_size: images per pass of the network, each
            variant of an image being one; max_boxes: at most so many boxes of an image, the most confident;
            min_score: of a box that is kept, of each variant and of the merged table.
        title: what the progress is called.

    Returns:
        Detections (a localizer) or ClassProbabilities (a classifier), in the order of the images.

    Raises:
        BadInput: an unknown variant.
    """
    chosen, batch_size, facts = variants(experiment.tta), experiment.batch_size, images.person_features
    starts = range(0, len(images), batch_size)
    tables: list[list] = [[] for _ in chosen]
    for start in progress(starts, title, unit="batch"):
        batch = np.stack([images.pixels[row] for row in range(start, min(start + batch_size, len(images)))])[..., None]
        pictures = np.concatenate([variant.picture(batch) for variant in chosen])
        people = None if facts is None else np.tile(facts[start : start + batch_size], (len(chosen), 1))
        inputs = model_input(pictures, people, family.person_inputs)
        decoded = [each for outputs in passes(network, inputs, batch_size) for each in family.decode(outputs)]
        for row, (table, variant) in enumerate(zip(tables, chosen)):
            own = decoded[row * len(batch) : (row + 1) * len(batch)]
            if family.kind == "localizer":
                own = [(variant.boxes_back(boxes, family.image_size), scores) for boxes, scores in own]
            table.extend(own)
    if family.kind == "classifier":
        return class_table(images.ids, np.mean([np.stack(table) for table in tables], axis=0))
    kept = (experiment.max_boxes, experiment.min_score)
    found = [detection_table(images, table, family.image_size, *kept) for table in tables]
    return found[0] if len(found) == 1 else most_confident(merge_same_model(found), *kept)


def passes(network: keras.Model, inputs, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Outputs of (n, size, size, 1) pictures, or of a dict of arrays, pass by pass, as numpy: together n rows.

    A pass always has batch_size rows, the last one filled up with zeros (black): one shape compiles once, and a
    picture's output does not depend on how many others came with it.
    """
    rows = len(keras.tree.flatten(inputs)[0])
    for start in range(0, rows, batch_size):
        own = min(batch_size, rows - start)

        def one_pass(array: np.ndarray, start: int = start, missing: int = batch_size - own) -> np.ndarray:
            part = array[start : start + batch_size]
            return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) if missing else part

        outputs = network.predict_on_batch(keras.tree.map_structure(one_pass, inputs))
        yield {name: np.asarray(value)[:own] for name, value in outputs.items()}


def class_table(ids: Sequence[str], probabilities: np.ndarray) -> ClassProbabilities:
    """probabilities: (n, labels) of one of data/labels.py's sets: opacity alone, the three classes, or NIH's 14, whose
    positive label is the opacity."""
    probabilities = probabilities.astype(np.float64)
    labels = next(each for each in HEADS.values() if len(each) == probabilities.shape[1])
    if labels.exclusive:
        return ClassProbabilities(tuple(ids), **dict(zip(labels.names, probabilities.T)))
    return ClassProbabilities(tuple(ids), opacity=probabilities[:, labels.positive_index])


def detection_table(images: Images, decoded: Iterable, model_size: int, max_boxes: int, min_score: float) -> Detections:
    """Boxes of the model's square, to the pixels of the originals and inside their frames; a box that a variant found
    beyond the frame is none."""
    boxes_list, scores_list = [], []
    for (boxes, scores), (rows, columns) in zip(decoded, images.sizes):
        boxes = geometry.scale(np.reshape(boxes, (-1, 4)), columns / model_size, rows / model_size)
        boxes = geometry.clip(boxes, columns, rows)
        inside = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
        boxes_list.append(boxes[inside])
        scores_list.append(np.asarray(scores, dtype=np.float64)[inside])
    return most_confident(Detections.from_lists(images.ids, boxes_list, scores_list), max_boxes, min_score)


def most_confident(detections: Detections, max_boxes: int, min_score: float) -> Detections:
    """At most max_boxes boxes of every image, by descending confidence, none below min_score."""
    ordered = detections.keep(detections.scores >= min_score).by_confidence()
    rank = np.arange(len(ordered.scores)) - np.repeat(ordered.offsets[:-1], ordered.counts)
    return ordered.keep(rank < max_boxes)
