"""FROC: sensitivity by finding against false positives per image, and who and what is found at one threshold.

Matching is the competition's at one IoU threshold (metrics/iou_map.py): an image's predictions in descending
confidence, ties in file order; each takes the unmatched true box of highest IoU if that is strictly greater; every
other prediction is a false positive, a second box on a true box that is taken included. Because matching goes in
descending confidence, the whole curve follows from one sorted pass over all boxes. Chakraborty, Medical Physics 16,
561 (1989), https://doi.org/10.1118/1.596358.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.intervals import DRAWS, Interval, bootstrap_means, percentile_interval, person_draws
from pneumonia.metrics.iou_kernels import iou as overlap_of
from pneumonia.metrics.iou_map import Truth, aligned_to
from pneumonia.system.jit import jit

IOU = 0.4  # the lowest of the competition's thresholds
RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)  # false positives per image
# square pixels of the original image, 1024 x 1024 in the competition; near the terciles (46,000 and 89,179) of its
# 9,555 boxes, and fixed so that figures of several data sets compare
SMALL, LARGE = 45_000, 90_000
SIZES = ("small", "medium", "large")


@dataclass(frozen=True, eq=False)
class Matches:
    """Every predicted box in descending confidence over all images, ties in file order.

    truth: the images in the predictions' order. confidence: (n,). image: (n,) its image. found: (n,) the row of
    `truth.boxes` that it found, -1 for a false positive. last: (n,) bool, the last of boxes of equal confidence: where
    a threshold can lie.
    """

    truth: Truth
    confidence: np.ndarray
    image: np.ndarray
    found: np.ndarray
    last: np.ndarray

    @property
    def image_of_lesion(self) -> np.ndarray:
        """(lesions,) position of the image of each true box."""
        return np.repeat(np.arange(len(self.truth)), np.diff(self.truth.offsets))


@dataclass(frozen=True, eq=False)
class Curve:
    """Operating points from nothing predicted to everything: thresholds (k,) descending, the first infinite;
    false_positives (k,) per image; sensitivity (k,), NaN where there is nothing to find."""

    thresholds: np.ndarray
    false_positives: np.ndarray
    sensitivity: np.ndarray

    def at(self, rate: float) -> int:
        """Position of the lowest threshold with at most `rate` false positives per image."""
        return int(np.searchsorted(self.false_positives, rate, side="right")) - 1


@dataclass(frozen=True)
class Point:
    """rate: false positives per image that are allowed; false_positives: that there are, at `threshold` (infinite where
    nothing may be predicted)."""

    rate: float
    threshold: float
    false_positives: float
    sensitivity: Interval


def match(truth: Truth, detections: Detections, iou: float = IOU) -> Matches:
    """The sorted pass. truth: must have every image of `detections`; the others are not looked at."""
    aligned, ordered = aligned_to(truth, detections), detections.by_confidence()
    found = np.full(len(ordered.scores), -1, dtype=np.int64)
    for image in np.flatnonzero(aligned.positive & (ordered.counts > 0)):
        start, first = ordered.offsets[image], aligned.offsets[image]
        true = aligned.boxes[first : aligned.offsets[image + 1]]
        # the metric's own kernel: a box at exactly the threshold must not match here and miss there
        overlap = np.array([[overlap_of(box, each) for each in true] for box in ordered.image(image)[0]])
        for row in np.flatnonzero((overlap > iou).any(axis=1)):
            best = int(np.argmax(overlap[row]))
            if overlap[row, best] > iou:
                found[start + row] = first + best
                overlap[:, best] = -1.0  # taken
    order = np.argsort(-ordered.scores, kind="stable")
    confidence = ordered.scores[order]
    last = np.append(confidence[1:] != confidence[:-1], True)[: len(order)]
    return Matches(aligned, confidence, ordered.image_of_box[order], found[order], last)


def curve(matches: Matches) -> Curve:
    """The exact FROC curve."""
    hit = matches.found >= 0
    hits, misses = np.cumsum(hit)[matches.last], np.cumsum(~hit)[matches.last]
    lesions, images = len(matches.truth.boxes), len(matches.truth)
    return Curve(
        np.concatenate([[np.inf], matches.confidence[matches.last]]),
        np.concatenate([[0.0], misses / max(images, 1)]),
        np.concatenate([[0.0], hits]) / (lesions or np.nan),
    )


def points(
    matches: Matches, people: np.ndarray, rates: Sequence[float] = RATES, draws: int = DRAWS, seed: int = 0
) -> list[Point]:
    """Sensitivity at fixed false positives per image, with intervals over people.

    In every draw the threshold moves to where the drawn images have that many false positives.

    Args:
        people: (images,) person of each image, numbered from 0.
        rates: ascending.
    """
    whole = curve(matches)
    count = int(people.max(initial=-1)) + 1
    lesions = np.bincount(people[matches.image_of_lesion], minlength=count).astype(float)
    images = np.bincount(people, minlength=count).astype(float)
    person, wanted = people[matches.image], np.asarray(rates, dtype=np.float64)
    drawn = [
        sensitivities_kernel(matches.found, person, matches.last, drawn, drawn @ lesions, wanted * (drawn @ images))
        for chunk in person_draws(count, draws if count else 0, seed)
        for drawn in chunk
    ]
    drawn = np.reshape(drawn, (-1, len(rates)))
    places = [whole.at(rate) for rate in rates]
    return [
        Point(
            rate,
            float(whole.thresholds[place]),
            float(whole.false_positives[place]),
            percentile_interval(float(whole.sensitivity[place]), drawn[:, column]),
        )
        for column, (rate, place) in enumerate(zip(rates, places))
    ]


@jit
def sensitivities_kernel(found, person, last, weight, lesions, allowed):
    """Sensitivity at the lowest threshold whose false positives are at most `allowed`, (rates,) ascending counts.

    person: (boxes,) of each box; weight: (people,) how often each is drawn; lesions: of the drawn images.
    """
    sensitivity = np.full(len(allowed), np.nan)
    hits, false, reached, rate = 0.0, 0.0, 0.0, 0
    for box in range(len(found)):
        if found[box] >= 0:
            hits += weight[person[box]]
        else:
            false += weight[person[box]]
        if last[box]:
            while rate < len(allowed) and false > allowed[rate]:
                sensitivity[rate] = reached / lesions if lesions > 0.0 else np.nan
                rate += 1
            if rate == len(allowed):
                return sensitivity
            reached = hits
    sensitivity[rate:] = reached / lesions if lesions > 0.0 else np.nan
    return sensitivity


# ------------------------------------------------------------------ at fixed thresholds


def sizes_of(boxes: np.ndarray) -> np.ndarray:
    """(n, 4) boxes to (n,) names of SIZES: area up to SMALL, up to LARGE, or above."""
    return np.array(SIZES)[np.searchsorted([SMALL, LARGE], boxes[:, 2] * boxes[:, 3], side="left")]


def found_at(matches: Matches, thresholds: Sequence[float]) -> np.ndarray:
    """(lesions, thresholds) 1.0 where a box of confidence >= threshold found the true box, else 0.0."""
    confidence = np.full(len(matches.truth.boxes), -np.inf)
    hit = matches.found >= 0
    confidence[matches.found[hit]] = matches.confidence[hit]
    return (confidence[:, None] >= np.asarray(thresholds)).astype(float)


def false_positives_at(matches: Matches, thresholds: Sequence[float]) -> np.ndarray:
    """(images, thresholds) number of false positives of each image."""
    missed = matches.found < 0
    image, confidence = matches.image[missed], matches.confidence[missed]
    counts = [np.bincount(image[confidence >= each], minlength=len(matches.truth)) for each in thresholds]
    return np.stack(counts, axis=1).astype(float)


def means_by_label(
    values: np.ndarray, labels: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> dict[str, list[Interval]]:
    """Mean of each column over the rows of each label, with intervals over people, the same draws for all.

    Args:
        values: (n, columns), of lesions or of images.
        labels: (n,) names; people: (n,) person of each row.

    Returns:
        {label, in order of appearance in sorted labels: [Interval of each column]}.
    """
    names = sorted(set(labels.tolist()))
    if not names:
        return {}
    masked = np.concatenate([np.where((labels == name)[:, None], values, np.nan) for name in names], axis=1)
    drawn = bootstrap_means(masked, people, draws, seed)
    columns = values.shape[1]
    made = {}
    for place, name in enumerate(names):
        means = values[labels == name].mean(axis=0)
        own = drawn[:, place * columns : (place + 1) * columns]
        made[name] = [percentile_interval(float(mean), own[:, column]) for column, mean in enumerate(means)]
    return made
