"""FROC: sensitivity against false positives per image, and counts at fixed thresholds by box size and by group.

Matching is the competition's at one IoU threshold (metrics/iou_map.py): an image's predictions in descending
confidence, ties in file order; each matches the unmatched true box of highest IoU if that is strictly greater; every
other prediction is a false positive, also a second box on a true box. Because matching is in descending confidence, one
sorted pass over all boxes gives the whole curve. Chakraborty, Medical Physics 16,
561 (1989), https://doi.org/10.1118/1.596358.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pneumonia.boxes.predictions import Detections
from pneumonia.metrics.intervals import DRAWS, Interval, bootstrap_means, percentile_interval, person_draws
from pneumonia.metrics.iou_kernels import iou as overlap_of
from pneumonia.metrics.iou_map import Truth, align_to
from pneumonia.system.jit import jit

IOU = 0.4  # the lowest of the competition's thresholds
RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)  # false positives per image
# limits in square pixels of the original image, 1024 x 1024 in the competition; near the terciles (46,000 and 89,179)
# of its 9,555 boxes, and fixed so that data sets can be compared
SMALL, LARGE = 45_000, 90_000
SIZES = ("small", "medium", "large")


@dataclass(frozen=True, eq=False)
class Matches:
    """Every predicted box in descending confidence over all images, ties in file order.

    truth: the images in the predictions' order. confidence: (n,). image: (n,) position of the box's image. lesion: (n,)
    row of the matched box in `truth.boxes`, -1 for a false positive. is_last: (n,) bool, the last of boxes of equal
    confidence, where a threshold is possible.
    """

    truth: Truth
    confidence: np.ndarray
    image: np.ndarray
    lesion: np.ndarray
    is_last: np.ndarray

    @property
    def image_of_lesion(self) -> np.ndarray:
        """(lesions,) position of each true box's image."""
        return np.repeat(np.arange(len(self.truth)), np.diff(self.truth.offsets))


@dataclass(frozen=True, eq=False)
class Curve:
    """Operating points from no predicted box to all.

    thresholds: (k,) descending, the first infinite. false_positives: (k,) per image. sensitivity: (k,), NaN if there is
    no true box.
    """

    thresholds: np.ndarray
    false_positives: np.ndarray
    sensitivity: np.ndarray

    def at(self, rate: float) -> int:
        """Position of the lowest threshold with at most `rate` false positives per image."""
        return int(np.searchsorted(self.false_positives, rate, side="right")) - 1


@dataclass(frozen=True)
class Point:
    """An operating point.

    rate: allowed false positives per image. false_positives: actual ones at `threshold`, which is infinite if no box
    can be predicted.
    """

    rate: float
    threshold: float
    false_positives: float
    sensitivity: Interval


def match(truth: Truth, detections: Detections, iou: float = IOU) -> Matches:
    """Match all boxes in one sorted pass. truth: has every image of `detections`; others are ignored."""
    aligned, ordered = align_to(truth, detections), detections.by_confidence()
    lesion = np.full(len(ordered.scores), -1, dtype=np.int64)
    for image in np.flatnonzero(aligned.positive & (ordered.counts > 0)):
        start, first = ordered.offsets[image], aligned.offsets[image]
        true = aligned.boxes[first : aligned.offsets[image + 1]]
        # the metric's own kernel, so that a box at exactly the threshold matches in both or in neither
        overlap = np.array([[overlap_of(box, true_box) for true_box in true] for box in ordered.image(image)[0]])
        for row in np.flatnonzero((overlap > iou).any(axis=1)):
            best = int(np.argmax(overlap[row]))
            if overlap[row, best] > iou:
                lesion[start + row] = first + best
                overlap[:, best] = -1.0  # a true box is matched once
    order = np.argsort(-ordered.scores, kind="stable")
    confidence = ordered.scores[order]
    is_last = np.append(confidence[1:] != confidence[:-1], True)[: len(order)]
    return Matches(aligned, confidence, ordered.image_of_box[order], lesion[order], is_last)


def curve(matches: Matches) -> Curve:
    """Return the exact FROC curve."""
    is_hit = matches.lesion >= 0
    hits, false_positives = np.cumsum(is_hit)[matches.is_last], np.cumsum(~is_hit)[matches.is_last]
    lesions, images = len(matches.truth.boxes), len(matches.truth)
    return Curve(
        np.concatenate([[np.inf], matches.confidence[matches.is_last]]),
        np.concatenate([[0.0], false_positives / max(images, 1)]),
        np.concatenate([[0.0], hits]) / (lesions or np.nan),
    )


def points(
    matches: Matches, people: np.ndarray, rates: Sequence[float] = RATES, draws: int = DRAWS, seed: int = 0
) -> list[Point]:
    """Return the sensitivity at fixed false positives per image, with intervals over people.

    Each bootstrap draw has its own threshold, at which its images have that many false positives.

    Args:
        people: (images,) person of each image, numbered from 0.
        rates: ascending.
    """
    whole = curve(matches)
    count = int(people.max(initial=-1)) + 1
    lesions = np.bincount(people[matches.image_of_lesion], minlength=count).astype(float)
    images = np.bincount(people, minlength=count).astype(float)
    person, ascending = people[matches.image], np.asarray(rates, dtype=np.float64)
    sensitivities = [
        sensitivities_kernel(
            matches.lesion, person, matches.is_last, weight, weight @ lesions, ascending * (weight @ images)
        )
        for weights in person_draws(count, draws if count else 0, seed)
        for weight in weights
    ]
    sensitivities = np.reshape(sensitivities, (-1, len(rates)))
    positions = [whole.at(rate) for rate in rates]
    return [
        Point(
            rate,
            float(whole.thresholds[position]),
            float(whole.false_positives[position]),
            percentile_interval(float(whole.sensitivity[position]), sensitivities[:, column]),
        )
        for column, (rate, position) in enumerate(zip(rates, positions))
    ]


@jit
def sensitivities_kernel(lesion, person, is_last, weight, lesions, allowed):
    """Return the sensitivity at the lowest threshold with at most `allowed` false positives; (rates,).

    Args:
        lesion, is_last: (boxes,) as in Matches.
        person: (boxes,) person of each box.
        weight: (people,) how often each person is drawn.
        lesions: number of true boxes in the drawn images.
        allowed: (rates,) ascending numbers of false positives.
    """
    sensitivity = np.full(len(allowed), np.nan)
    hits, false_positives, last_hits, rate = 0.0, 0.0, 0.0, 0
    for box in range(len(lesion)):
        if lesion[box] >= 0:
            hits += weight[person[box]]
        else:
            false_positives += weight[person[box]]
        if is_last[box]:
            while rate < len(allowed) and false_positives > allowed[rate]:
                sensitivity[rate] = last_hits / lesions if lesions > 0.0 else np.nan
                rate += 1
            if rate == len(allowed):
                return sensitivity
            last_hits = hits
    sensitivity[rate:] = last_hits / lesions if lesions > 0.0 else np.nan
    return sensitivity


# ------------------------------------------------------------------ at fixed thresholds


def sizes_of(boxes: np.ndarray) -> np.ndarray:
    """Return the (n,) size names of (n, 4) boxes: area up to SMALL, up to LARGE, or above."""
    return np.array(SIZES)[np.searchsorted([SMALL, LARGE], boxes[:, 2] * boxes[:, 3], side="left")]


def hits_at(matches: Matches, thresholds: Sequence[float]) -> np.ndarray:
    """Return (lesions, thresholds): 1.0 where a box of confidence >= threshold matches the true box, else 0.0."""
    confidence = np.full(len(matches.truth.boxes), -np.inf)
    is_hit = matches.lesion >= 0
    confidence[matches.lesion[is_hit]] = matches.confidence[is_hit]
    return (confidence[:, None] >= np.asarray(thresholds)).astype(float)


def false_positives_at(matches: Matches, thresholds: Sequence[float]) -> np.ndarray:
    """Return the number of false positives of each image, (images, thresholds)."""
    is_false = matches.lesion < 0
    image, confidence = matches.image[is_false], matches.confidence[is_false]
    counts = [np.bincount(image[confidence >= threshold], minlength=len(matches.truth)) for threshold in thresholds]
    return np.stack(counts, axis=1).astype(float)


def means_by_label(
    values: np.ndarray, labels: np.ndarray, people: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> dict[str, list[Interval]]:
    """Return the mean of each column over the rows of each label, with intervals over people; all have the same draws.

    Args:
        values: (n, columns), of lesions or of images.
        labels: (n,) names; people: (n,) person of each row.

    Returns:
        {label, in sorted order: [Interval of each column]}.
    """
    names = sorted(set(labels.tolist()))
    if not names:
        return {}
    masked = np.concatenate([np.where((labels == name)[:, None], values, np.nan) for name in names], axis=1)
    draw_means = bootstrap_means(masked, people, draws, seed)
    columns = values.shape[1]
    intervals = {}
    for k, name in enumerate(names):
        means = values[labels == name].mean(axis=0)
        draws_of_name = draw_means[:, k * columns : (k + 1) * columns]
        intervals[name] = [percentile_interval(float(mean), draws_of_name[:, j]) for j, mean in enumerate(means)]
    return intervals
