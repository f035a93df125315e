"""Test images with another model's confident predictions as labels.

Lee, Pseudo-Label (2013). The labels come from a run on the same fold: it was not trained on this run's held-out images
either, so that no true label of those passes on.
"""

import dataclasses

import numpy as np

from pneumonia import schema
from pneumonia.boxes import geometry
from pneumonia.boxes.predictions import read_classes, read_detections
from pneumonia.data.cache import Cache
from pneumonia.data.labels import CLASSES
from pneumonia.data.person_features import person_features_of
from pneumonia.data.samples import CachedImages, Samples, original_sizes
from pneumonia.runs.run import Run
from pneumonia.system.errors import bad_input
from pneumonia.system.progress import say
from pneumonia.training.other_runs import same_fold

SETTING = "pseudo_labels.experiment"


def with_pseudo_labels(samples: Samples, run: Run, experiment: schema.Experiment, cache: Cache, title: str) -> Samples:
    """Return the training images followed by test images with labels; unchanged without `pseudo_labels.experiment`.

    Boxes of `min_score` or more become labels. A test image without a box above `max_negative` becomes a negative, of
    the class that the other model's output for the whole image finds more probable; images between are left out.

    Args:
        samples: from the run's cache, at the experiment's image size.

    Raises:
        BadInput: that experiment has no finished run on this fold; it is a classifier, or has not predicted test
            images; this one learns three classes, and that one has no output for the whole image.
    """
    settings = experiment.pseudo_labels
    if not settings.experiment:
        return samples
    other = same_fold(run, settings.experiment, SETTING)
    tables = other.done()["tables"]
    if "test" not in tables or other.done()["kind"] != "localizer":
        what = f"{settings.experiment} has predicted no boxes in test images"
        raise bad_input(SETTING, what, "name a localizer, on data with test images")
    if "test_classes" not in tables and learns_classes(experiment.model):
        what = (
            f"{settings.experiment} has no output for the whole image, and {experiment.model.name} learns three classes"
        )
        raise bad_input(SETTING, what, "name a localizer with model.image_loss above 0")
    detections = read_detections(other.table("test", "localizer"))
    best = np.array([detections.image(row)[1].max(initial=0.0) for row in range(len(detections))])
    confident = detections.keep(detections.scores >= settings.min_score)
    is_positive, is_negative = best >= settings.min_score, best <= settings.max_negative
    classes = np.where(is_positive, CLASSES.positive_index, CLASSES.names.index("normal"))
    if "test_classes" in tables:
        of_images = read_classes(other.table("test", "classifier")).select(detections.ids)
        classes[~is_positive & (of_images.not_normal > of_images.normal)] = CLASSES.names.index("not_normal")
    rows = np.flatnonzero(is_positive | is_negative)
    count, left_out = int(is_positive.sum()), len(best) - len(rows)
    say(f"{title}: {len(rows)} test images with pseudo-labels, {count} positive; {left_out} left out")
    return joined(samples, confident.rows(rows), classes[rows], cache, experiment.image_size)


def learns_classes(model: schema.Model) -> bool:
    return getattr(model, "image_loss", 0.0) > 0 or getattr(model, "head", "") == "classes"


def joined(samples: Samples, boxes, classes: np.ndarray, cache: Cache, size: int) -> Samples:
    """Append images of the cache. boxes: Detections in pixels of the original images. classes: (n,)."""
    ids = [*samples.ids, *boxes.ids]
    scaled = [
        geometry.scale(boxes.image(row)[0], size / columns, size / rows)
        for row, (rows, columns) in enumerate(original_sizes(cache, boxes.ids))
    ]
    features = samples.person_features
    if features is not None:
        index = cache.index.iloc[[cache.row_of(image) for image in boxes.ids]]
        features = np.concatenate([features, person_features_of(index)])
    return dataclasses.replace(
        samples,
        ids=np.array(ids, dtype=object),
        images=CachedImages(cache, ids, size),
        boxes=[*samples.boxes, *scaled],
        classes=np.concatenate([samples.classes, classes]),
        person_features=features,
    )
